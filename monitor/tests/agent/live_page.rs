//! The live page in a real browser.

use std::{
    fs,
    net::{Ipv4Addr, UdpSocket},
    path::Path,
};

use testkit::{
    agent::{Agent, Config, LISTEN},
    browser::Browser,
    eventually,
    world::{in_world, port},
};

const BROWSERS: [&str; 2] = ["/usr/bin/chromium", "/usr/bin/google-chrome"];

/// What the row of a port says.
fn row(port: u16) -> String {
    format!("(document.querySelector('tr[data-port=\"{port}\"]') || {{innerText: ''}}).innerText")
}

#[test]
fn the_page_updates_a_row_on_a_bind() {
    let program = BROWSERS.into_iter().find(|program| Path::new(program).exists());
    let Some(program) = program else { return eprintln!("skipped: no Chromium is installed") };
    in_world(|world| {
        let _agent = Agent::start(world, &Config::new([port(0), port(1)]).on(&["lo"]));
        let mut browser = Browser::start(world, program);
        browser.go_to(&format!("http://127.0.0.1:{LISTEN}/"));
        for number in [port(0), port(1)] {
            eventually("a row", || browser.evaluate(&row(number)).contains("quiet").then_some(()));
        }
        let events = "document.getElementById('events').innerText";
        eventually("events", || browser.evaluate(events).contains("agent_started").then_some(()));

        let this_program = fs::read_to_string("/proc/self/comm").expect("a name");
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port(0))).expect("bound");
        eventually("a bound port", || {
            let row = browser.evaluate(&row(port(0)));
            (row.contains("bound") && row.contains(this_program.trim_end())).then_some(())
        });
        eventually("the event", || {
            browser.evaluate(events).contains("unexpected_owner").then_some(())
        });
        assert!(browser.evaluate(&row(port(1))).contains("quiet"));
        drop(socket);
        assert!(browser.complaints().is_empty(), "{:#?}", browser.complaints());
    });
}
