//! Details that are not for every user.

use std::{os::unix::process::CommandExt as _, process::Command};

use super::{
    measure::{Extent, Measure},
    users::server,
};
use crate::{
    agent::{Agent, Config, finish, stdout},
    calls::NOBODY,
    http,
    world::{World, port},
};

const DETAILS: [&str; 5] =
    ["/", "/api/v1/ports", "/api/v1/events", "/api/v1/talkers", "/api/v1/hooks"];

fn start(world: &World) -> Agent {
    Agent::start(world, &Config::new([port(0)]).on(&["lo"]))
}

/// Another user asks over loopback.
pub(super) fn over_loopback(world: &World, _: Extent) -> Measure {
    let _agent = start(world);
    // The agent looks at the process that asks, so a thread of another user is not enough.
    let answers = DETAILS.map(|path| {
        let url = format!("http://{}{path}", server());
        let mut curl = Command::new("curl");
        curl.args(["-s", "-m", "20", "-o", "/dev/null", "-w", "%{http_code}", &url]);
        stdout(&finish(curl.uid(NOBODY).gid(NOBODY))).parse().unwrap_or(0_u16)
    });
    let repelled = answers.iter().all(|status| *status == 403);
    let seen = format!("answers {answers:?}");
    Measure::new("nobody asks for the page and the API over loopback", seen, repelled)
}

/// A proxy of root's asks for its clients.
pub(super) fn by_a_proxy(world: &World, _: Extent) -> Measure {
    let _agent = start(world);
    let mut answers = Vec::new();
    let headers = ["X-Forwarded-For: 192.0.2.1", "Forwarded: for=192.0.2.1", "Via: 1.1 x"];
    for path in DETAILS {
        for header in headers {
            let request = format!(
                "GET {path} HTTP/1.1\r\nHost: {}\r\n{header}\r\nConnection: close\r\n\r\n",
                server()
            );
            answers.push(http::raw(server(), request.as_bytes()).expect("an answer").status);
        }
    }
    let passed = answers.iter().filter(|status| **status != 403).count();
    let seen = format!("{passed} of {} answered with details", answers.len());
    Measure::new("requests of root's with forwarding headers", seen, passed == 0)
}
