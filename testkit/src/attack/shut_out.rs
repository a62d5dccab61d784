//! Clients that would keep others out.

use std::{
    fs,
    net::TcpStream,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use super::{
    measure::{Extent, Measure},
    users::{over_unix, server, within},
};
use crate::{
    agent::{Agent, Config},
    calls::NOBODY,
    http,
    privileges::as_user,
    process::cpu_ticks,
    sh,
    world::{World, port},
};

/// The password of this user is `test`; the cost is 10.
const USERS: &str = "basic_auth_users:\n  \
    admin: $2b$10$abcdefghijklmnopqrstuuNYVhuCzN8W/N3q6oBTpBoHaLLh6DgBG\n";

fn config() -> Config {
    Config::new([port(0)]).on(&["lo"])
}

/// Hundreds of connections that say nothing.
pub(super) fn by_idle_connections(world: &World, _: Extent) -> Measure {
    let _agent = Agent::start(world, &config());
    let connect = || TcpStream::connect(server()).expect("connected");
    let idle = as_user(NOBODY, || (0..300).map(|_| connect()).collect::<Vec<_>>());
    let more: Vec<TcpStream> = (0..300).map(|_| connect()).collect();
    let began = Instant::now();
    let scrapes = [0, NOBODY].map(|user| {
        as_user(user, || http::get(server(), "/metrics").map_or(0, |answer| answer.status))
    });
    let unix = over_unix("/api/v1/ports").map(|(status, _)| status);
    let seconds = began.elapsed().as_secs_f32();
    drop((idle, more));
    let seen =
        format!("scrapes of root and nobody {scrapes:?}, Unix socket {unix:?}, in {seconds:.1} s");
    let served = scrapes == [200, 200] && unix == Some(200);
    Measure::new("300 idle connections of nobody's and 300 of root's", seen, served)
}

/// A file of passwords for the web server.
fn protected(world: &World) -> (Agent, std::path::PathBuf) {
    let path = world.path("web.yml");
    fs::write(&path, "{}").expect("written");
    let keys = format!("config_file: {}", path.display());
    let agent = Agent::start(world, &config().with_web_keys(&keys));
    // The agent waits for its health page, which has a password from now on.
    fs::write(&path, USERS).expect("written");
    (agent, path)
}

fn with_password(password: &str) -> Option<u16> {
    let secret = base64(&format!("admin:{password}"));
    let request = format!(
        "GET /metrics HTTP/1.1\r\nHost: {}\r\nAuthorization: Basic {secret}\r\nConnection: close\r\n\r\n",
        server()
    );
    Some(http::raw(server(), request.as_bytes()).ok()?.status)
}

/// RFC 4648, section 4.
fn base64(text: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let sextet = (bits >> (18 - 6 * place)) as usize & 63;
            out.push(if place <= chunk.len() { ALPHABET[sextet].into() } else { '=' });
        }
    }
    out
}

/// Wrong passwords from several threads, and the right one meanwhile.
pub(super) fn by_wrong_passwords(world: &World, extent: Extent) -> Measure {
    let (agent, _) = protected(world);
    let cpu = || cpu_ticks(agent.pid());
    let (stop, guesses) = (AtomicBool::new(false), AtomicU64::new(0));
    let (right, share) = thread::scope(|scope| {
        for number in 0..4 {
            let (stop, guesses) = (&stop, &guesses);
            scope.spawn(move || {
                as_user(NOBODY, || {
                    while !stop.load(Relaxed) {
                        with_password(&format!("{number}-{}", guesses.fetch_add(1, Relaxed)));
                    }
                });
            });
        }
        thread::sleep(Duration::from_secs(1));
        let (began, before) = (Instant::now(), cpu());
        let right = within(|| (with_password("test") == Some(200)).then(|| began.elapsed()));
        thread::sleep(Duration::from_secs(extent.of(2, 10)));
        let share = (cpu() - before) as f64 / 100.0 / began.elapsed().as_secs_f64();
        stop.store(true, Relaxed);
        (right, share)
    });
    let waited = right.map_or("never".into(), |time| format!("after {:.1} s", time.as_secs_f32()));
    let seen = format!(
        "{} guesses; the right one is accepted {waited}; the agent takes {:.0} % of a CPU",
        guesses.load(Relaxed),
        share * 100.0
    );
    Measure::new("wrong passwords in four loops of nobody's", seen, right.is_some() && share < 0.7)
}

/// A file that the web server reads again is replaced.
pub(super) fn by_a_fifo(world: &World, _: Extent) -> Measure {
    let (agent, path) = protected(world);
    within(|| (with_password("test") == Some(200)).then_some(()));
    fs::remove_file(&path).expect("removed");
    sh(&format!("mkfifo {}", path.display()));
    let right = with_password("test");
    let without = http::get(server(), "/metrics").map_or(0, |answer| answer.status);
    let began = Instant::now();
    let ended = agent.terminate().success();
    let seconds = began.elapsed().as_secs_f32();
    let seen = format!(
        "the right password {right:?}, none {without}; SIGTERM ends it ({seconds:.1} s): {ended}"
    );
    let repelled = right == Some(200) && without == 401 && ended;
    Measure::new("a FIFO in place of the web configuration", seen, repelled)
}
