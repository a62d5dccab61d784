//! What the live page, `top` and the API take while five ports are busy: `cargo xtask bench faces`.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use testkit::{
    agent::{Agent, Config},
    eventually,
    world::in_world,
};

use super::{
    live_page::{browser, page},
    top::Session,
};

const PORTS: [u16; 5] = [2923, 2948, 2949, 3716, 3717];

/// Openings of the page, each by a browser without a cache.
const OPENINGS: usize = 5;

/// Seconds for which `top` is watched.
const SECONDS: u64 = 60;

/// Clock ticks of `/proc` in a second (`sysconf(_SC_CLK_TCK)`, 100 on every architecture).
const TICKS: f64 = 100.0;

/// What the browser knows of a view that is complete: when the first text was there, when the answer about
/// the ports was, how many bytes were read, and how many of them crossed the network.
const VIEW: &str = "(() => {\
    const paint = performance.getEntriesByName('first-contentful-paint')[0]?.startTime;\
    const [page] = performance.getEntriesByType('navigation');\
    const loaded = performance.getEntriesByType('resource').filter(one => one.responseEnd);\
    const ports = loaded.find(one => one.name.endsWith('/api/v1/ports'))?.responseEnd;\
    const first = loaded.concat(page);\
    const own = first.filter(one => !one.name.includes('/api/'));\
    const sum = (all, key) => all.reduce((total, one) => total + one[key], 0);\
    return paint && ports && loaded.some(one => one.name.includes('/history')) &&\
        loaded.some(one => one.name.includes('/events?')) ? [paint, ports, sum(own, 'decodedBodySize'), sum(own, 'encodedBodySize'),\
        sum(first, 'decodedBodySize'), sum(first, 'transferSize')].map(Math.round).join(' ') : '';\
    })()";

#[test]
#[ignore = "takes a minute and a half: cargo xtask bench faces"]
fn faces_of_five_busy_ports() {
    in_world(|world| {
        let agent = Agent::start(world, &Config::new(PORTS).on(&["lo"]).listeners("{watch: all}"));
        let traffic = Traffic::start();
        eventually("traffic on every port", || {
            let answer = agent.get("/api/v1/ports").body;
            (answer.matches("\"served\"").count() == PORTS.len()).then_some(())
        });
        for path in ["ports", "talkers?limit=20", "listeners", "events?limit=200"] {
            let answer = agent.get(&format!("/api/v1/{path}"));
            println!("/api/v1/{path}: {} bytes", answer.body.len());
        }
        let hours =
            PORTS.map(|port| agent.get(&format!("/api/v1/ports/{port}/history")).body.len());
        println!("the hours of five ports: {} bytes", hours.iter().sum::<usize>());
        for _ in 0..OPENINGS {
            let Some(mut browser) = browser(world) else { break };
            browser.go_to(&page());
            let view = eventually("a view", || {
                Some(browser.evaluate(VIEW)).filter(|view| !view.is_empty())
            });
            let facts: Vec<&str> = view.split(' ').collect();
            println!(
                "the page: first paint {} ms, ports {} ms; own files {} bytes, {} as sent; with \
                 answers {} bytes, {} as sent",
                facts[0], facts[1], facts[2], facts[3], facts[4], facts[5]
            );
        }
        let session = Session::start_with(&[], "xterm-256color");
        session.await_text("2948");
        let before = ticks(session.pid());
        thread::sleep(Duration::from_secs(SECONDS));
        let used = (ticks(session.pid()) - before) / TICKS;
        println!("top: {:.2} % of a core over {SECONDS} s", used / SECONDS as f64 * 100.0);
        drop(traffic);
    });
}

/// User and system time of a process, in ticks (proc_pid_stat(5)).
fn ticks(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let fields: Vec<&str> =
        stat.rsplit_once(')').expect("a name").1.split_ascii_whitespace().collect();
    let number = |index: usize| fields[index].parse::<f64>().expect("a number");
    number(11) + number(12)
}

/// Servers on all ports, a hundred requests a second to one after the other, until it is dropped.
struct Traffic(Arc<AtomicBool>);

impl Traffic {
    fn start() -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        for port in PORTS {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("bound");
            thread::spawn(move || {
                for stream in listener.incoming() {
                    let Ok(mut stream) = stream else { return };
                    let _ = stream.read(&mut [0; 512]);
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
                }
            });
        }
        let ends = Arc::clone(&is_over);
        thread::spawn(move || {
            let datagrams = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("bound");
            for port in PORTS.into_iter().cycle().take_while(|_| !ends.load(Relaxed)) {
                if let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
                    let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n");
                    let _ = stream.read(&mut [0; 64]);
                }
                let _ = datagrams.send_to(b"hello", (Ipv4Addr::LOCALHOST, port));
                thread::sleep(Duration::from_millis(10));
            }
        });
        Self(is_over)
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}
