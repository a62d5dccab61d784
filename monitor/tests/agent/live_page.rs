//! The live page in a real browser.
//!
//! `GHOSTPORT_PICTURES=FOLDER` keeps pictures of what it shows.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket},
    path::Path,
    thread,
};

use testkit::{
    agent::{Agent, Config, LISTEN},
    browser::Browser,
    eventually,
    world::{World, in_world, port},
};

const BROWSERS: [&str; 2] = ["/usr/bin/chromium", "/usr/bin/google-chrome"];

/// Widths from the smallest phone to the largest screen.
const WIDTHS: [u32; 4] = [320, 390, 1300, 2560];

/// Parts of the page that would be wider than the window; scrolling regions may be.
const TOO_WIDE: &str = "String(document.documentElement.scrollWidth - innerWidth)";

/// Numbers and states of ports that were broken into lines.
const BROKEN: &str = "[...document.querySelectorAll('.number, .state, .kind, .at a')]\
    .filter(one => one.offsetParent && one.getClientRects().length > 1)\
    .map(one => one.innerText).join()";

pub(crate) fn browser(world: &World) -> Option<Browser> {
    let program = BROWSERS.into_iter().find(|program| Path::new(program).exists());
    if program.is_none() {
        eprintln!("skipped: no Chromium is installed");
    }
    program.map(|program| Browser::start(world, program))
}

pub(crate) fn page() -> String {
    format!("http://127.0.0.1:{LISTEN}/")
}

/// What the card or the row of a port says.
fn shown(port: u16) -> String {
    format!("(document.querySelector('[data-port=\"{port}\"]') || {{innerText: ''}}).innerText")
}

fn text_of(id: &str) -> String {
    format!("document.getElementById('{id}').innerText")
}

fn wait_for(browser: &mut Browser, what: &str, expression: &str, expected: &str) {
    eventually(what, || browser.evaluate(expression).contains(expected).then_some(()));
}

fn assert_no_complaint(browser: &Browser) {
    assert!(browser.complaints().is_empty(), "{:#?}", browser.complaints());
}

/// A server of HTTP on a watched port, and requests to it.
fn serve_http(port: u16, requests: usize) -> TcpListener {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("bound");
    let server = listener.try_clone().expect("cloned");
    thread::spawn(move || {
        for stream in server.incoming().take(requests) {
            let mut stream = stream.expect("a connection");
            let mut request = [0; 512];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    });
    for _ in 0..requests {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("connected");
        stream.write_all(b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n").expect("sent");
        let _ = stream.read(&mut [0; 64]);
    }
    listener
}

#[test]
fn the_page_answers_what_woke_up_and_who_did_it() {
    in_world(|world| {
        let _agent = Agent::start(world, &Config::new([port(0), port(1)]).on(&["lo"]));
        let Some(mut browser) = browser(world) else { return };
        browser.go_to(&page());
        for number in [port(0), port(1)] {
            wait_for(&mut browser, "a row", &shown(number), "quiet");
        }
        wait_for(&mut browser, "events", &text_of("events"), "agent_started");
        wait_for(&mut browser, "the headline", &text_of("headline"), "nothing woke up");

        let this_program = fs::read_to_string("/proc/self/comm").expect("a name");
        let this_program = this_program.trim_end();
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port(0))).expect("bound");
        eventually("a bound port", || {
            let card = browser.evaluate(&shown(port(0)));
            let answers = ["bound", this_program, "not expected", "awake for", "127.0.0.1"];
            answers.iter().all(|answer| card.contains(answer)).then_some(())
        });
        wait_for(&mut browser, "who", &text_of("headline"), this_program);
        wait_for(&mut browser, "the event", &text_of("events"), "unexpected_owner");
        assert!(browser.evaluate(&shown(port(1))).contains("quiet"));
        drop(socket);
        assert_no_complaint(&browser);
    });
}

#[test]
fn the_page_fits_every_width_and_has_no_violation() {
    in_world(|world| {
        let _agent = Agent::start(world, &Config::new([port(0), port(1), port(2)]).on(&["lo"]));
        let Some(mut browser) = browser(world) else { return };
        browser.set_view(1300, 900, "light");
        browser.go_to(&page());
        wait_for(&mut browser, "a row", &shown(port(1)), "quiet");
        browser.take_picture("quiet-1300-light.png");
        assert_eq!(browser.violations(), "[]", "while all is quiet");

        let _server = serve_http(port(0), 20);
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, port(1)));
        wait_for(&mut browser, "a server", &shown(port(0)), "served");
        wait_for(&mut browser, "its traffic", &shown(port(0)), "http");
        wait_for(&mut browser, "its hour", &shown(port(0)), "packets in the last hour");
        for hash in ["#/".to_owned(), format!("#/port/{}", port(0))] {
            browser.evaluate(&format!("location.hash = '{hash}'"));
            for (width, scheme) in WIDTHS.into_iter().flat_map(|w| [(w, "light"), (w, "dark")]) {
                browser.set_view(width, 900, scheme);
                let view = format!("{hash} at {width}, {scheme}");
                assert_eq!(browser.violations(), "[]", "{view}");
                let excess: i64 = browser.evaluate(TOO_WIDE).parse().expect("a number");
                assert!(excess <= 0, "{view}: {excess} too wide");
                assert_eq!(browser.evaluate(BROKEN), "", "{view}");
                let name = if hash == "#/" { "busy" } else { "port" };
                browser.take_picture(&format!("{name}-{width}-{scheme}.png"));
            }
        }
        assert_no_complaint(&browser);
    });
}

#[test]
fn a_port_has_a_view_of_its_own_that_the_keyboard_reaches() {
    in_world(|world| {
        let watched = 2948;
        let _agent = Agent::start(world, &Config::new([watched]).on(&["lo"]));
        let Some(mut browser) = browser(world) else { return };
        browser.go_to(&page());
        wait_for(&mut browser, "a row", &shown(watched), "quiet");
        let _server = serve_http(watched, 3);
        wait_for(&mut browser, "a server", &shown(watched), "served");

        // By the link to the port, as a keyboard reaches it.
        browser.evaluate("document.querySelector('[data-focus=\"port-2948\"]').focus()");
        browser.press("Enter", Some("\r"));
        let view = text_of("port");
        wait_for(&mut browser, "the registry", &view, "WAP PUSH");
        for part in ["Packets a second", "States and events", "Sockets", "ghostport explain 2948"] {
            wait_for(&mut browser, part, &view, part);
        }
        wait_for(&mut browser, "the verdict", &view, "confirmed");
        let graph = "String(document.querySelectorAll('#port-chart canvas').length)";
        wait_for(&mut browser, "the graph", graph, "1");
        wait_for(&mut browser, "events of this port", &text_of("events"), "unexpected_owner");

        // What the user has closed stays closed when there is something new.
        browser.evaluate("document.querySelector('[data-key=sockets] > summary').click()");
        let drawn = "document.getElementById('port-details').signature";
        let before = browser.evaluate(drawn);
        let _another = TcpStream::connect((Ipv4Addr::LOCALHOST, watched)).expect("connected");
        eventually("something new", || (browser.evaluate(drawn) != before).then_some(()));
        let is_open = "String(document.querySelector('[data-key=sockets]').open)";
        assert_eq!(browser.evaluate(is_open), "false");

        browser.evaluate("location.hash = '#/port/9'");
        wait_for(&mut browser, "a port that is not watched", &view, "ghostport check 9");
        browser.evaluate("document.querySelector('[data-focus=back]').focus()");
        browser.evaluate("document.getElementById('filters').dispatchEvent(new Event('input'))");
        let focused = "String(document.activeElement.dataset.focus)";
        assert_eq!(browser.evaluate(focused), "back", "drawing again takes no focus away");
        browser.press("Escape", None);
        wait_for(
            &mut browser,
            "all ports",
            "String(document.getElementById('port').hidden)",
            "true",
        );
        assert_no_complaint(&browser);
    });
}

#[test]
fn events_are_filtered_by_kind_severity_and_port() {
    in_world(|world| {
        let _agent = Agent::start(world, &Config::new([port(0), port(1)]).on(&["lo"]));
        let Some(mut browser) = browser(world) else { return };
        browser.go_to(&page());
        let _sockets = [port(0), port(1)]
            .map(|number| UdpSocket::bind((Ipv4Addr::LOCALHOST, number)).expect("bound"));
        let events = text_of("events");
        for number in [port(0), port(1)] {
            wait_for(&mut browser, "both ports", &events, &format!("{number}/udp"));
        }
        let set = |id: &str, value: &str| {
            format!(
                "{{ const field = document.getElementById('{id}'); field.value = '{value}'; \
                 field.dispatchEvent(new Event('input', {{bubbles: true}})) }}"
            )
        };
        browser.evaluate(&set("filter-port", &port(1).to_string()));
        eventually("one port", || {
            let text = browser.evaluate(&events);
            (!text.contains(&format!("{}/", port(0))) && text.contains("bind")).then_some(())
        });
        browser.evaluate(&set("severity", "critical"));
        eventually("critical ones", || {
            let text = browser.evaluate(&events);
            let has_info = text.lines().any(|line| line == "bind");
            (!has_info && text.contains("unexpected_owner")).then_some(())
        });
        browser.evaluate(&set("kind", "bind"));
        wait_for(&mut browser, "none", &text_of("no-events"), "No event matches");
        assert_no_complaint(&browser);
    });
}

#[test]
fn the_page_says_that_the_agent_is_gone_and_goes_on_when_it_is_back() {
    in_world(|world| {
        let config = Config::new([port(0)]).on(&["lo"]);
        let agent = Agent::start(world, &config);
        let Some(mut browser) = browser(world) else { return };
        browser.go_to(&page());
        wait_for(&mut browser, "the stream", &text_of("health"), "live");
        wait_for(&mut browser, "a row", &shown(port(0)), "quiet");
        drop(agent);
        wait_for(&mut browser, "its absence", &text_of("health"), "does not answer");
        assert!(browser.evaluate(&shown(port(0))).contains("quiet"), "the last answer stays");
        let _agent = Agent::start(world, &config);
        wait_for(&mut browser, "the stream again", &text_of("health"), "live");
        // What could not be loaded meanwhile is no fault of the page.
        browser.forget_complaints();
        let _socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port(0))).expect("bound");
        wait_for(&mut browser, "what happens then", &shown(port(0)), "bound");
        assert_no_complaint(&browser);
    });
}
