//! Programs that would pass for an expected owner.

use std::{
    fs::File,
    os::fd::OwnedFd,
    path::PathBuf,
    process::{Command, Stdio},
};

use super::{
    measure::{Extent, Measure},
    users::within,
};
use crate::{
    agent::{Agent, Config},
    impostor::{Impostor, Trick},
    world::{World, port},
};

/// Binds its first argument as a UDP port and executes the rest, to which the socket is passed on.
const BINDER: &str =
    r#"$^F=9;socket(S,2,2,17);bind(S,pack("Sna4x8",2,shift,"\x7f\0\0\1"))||die;exec @ARGV"#;

fn expecting(exe: &str) -> Config {
    Config::new([port(0)]).with_port_keys(&format!("expect: [{{exe: {exe}}}]"))
}

fn real_path(program: &str) -> String {
    std::fs::canonicalize(program).expect("a program").display().to_string()
}

/// Another program binds and becomes the expected one at once, without address randomisation.
pub(super) fn by_executing_after_the_bind(world: &World, extent: Extent) -> Measure {
    let times = extent.of(20, 200);
    let expected = real_path("/bin/true");
    let tried = format!("perl binds and executes {expected}, {times} times, without randomisation");
    let agent = Agent::start(world, &expecting(&expected));
    for _ in 0..times {
        let mut command = Command::new("setarch");
        command.args(["-R", "perl", "-e", BINDER, &port(0).to_string(), &expected]);
        if !command.status().is_ok_and(|status| status.success()) {
            return Measure::skipped(tried, "no setarch or no perl here");
        }
    }
    let binds = || {
        let events = agent.events().into_iter();
        events.filter(|event| event["event.name"] == "ghostport.bind").collect::<Vec<_>>()
    };
    within(|| (binds().len() as u64 >= times).then_some(()));
    let passed = binds().iter().filter(|event| event["ghostport.expected"] == true).count();
    let seen = format!("{} binds, {passed} of them expected", binds().len());
    Measure::new(tried, seen, passed == 0 && binds().len() as u64 >= times)
}

/// The expected program binds, and another one holds the socket.
pub(super) fn by_passing_a_socket_on(world: &World, _: Extent) -> Measure {
    let expected = real_path("/usr/bin/perl");
    let tried = "perl is expected and binds; its socket passes to cat";
    let agent = Agent::start(world, &expecting(&expected));
    let (hold, _held) = std::io::pipe().expect("a pipe");
    let mut command = Command::new("perl");
    command.args(["-e", BINDER, &port(0).to_string(), "cat"]);
    command.stdin(Stdio::from(File::from(OwnedFd::from(hold)))).stdout(Stdio::null());
    let Ok(mut heir) = command.spawn() else { return Measure::skipped(tried, "no perl here") };
    let judged = || {
        let events = agent.events().into_iter();
        events
            .filter(|event| event["event.name"] == "ghostport.unexpected_owner")
            .any(|event| event["process.pid"] == heir.id())
    };
    let is_judged = within(|| judged().then_some(())).is_some();
    let _ = heir.kill();
    let _ = heir.wait();
    let seen = if is_judged { "unexpected_owner names cat" } else { "no event names cat" };
    Measure::new(tried, seen, is_judged)
}

/// A user namespace of the attacker's lets a process replace its executable (`PR_SET_MM_MAP`).
pub(super) fn by_claiming_an_executable(world: &World, _: Extent) -> Measure {
    let expected = PathBuf::from(real_path("/bin/sleep"));
    let tried = format!("/proc/PID/exe becomes {} in a user namespace", expected.display());
    let allowed = Command::new("unshare").args(["-r", "true"]).status();
    if !allowed.is_ok_and(|status| status.success()) {
        return Measure::skipped(tried, "no user namespaces here");
    }
    let agent = Agent::start(world, &expecting(&expected.display().to_string()));
    let impostor = Impostor::start(Trick::ClaimsIt, port(0), &expected);
    let bind = || {
        let events = agent.events().into_iter();
        events
            .filter(|event| event["event.name"] == "ghostport.bind")
            .find(|event| event["process.pid"] == impostor.pid())
    };
    let Some(bind) = within(bind) else {
        return Measure::new(tried, "no event of its bind", false);
    };
    let seen = format!("its bind is expected: {}", bind["ghostport.expected"]);
    Measure::new(tried, seen, bind["ghostport.expected"] == false)
}
