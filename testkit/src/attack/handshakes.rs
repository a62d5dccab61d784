//! TLS handshakes that keep the agent from emptying its rings.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::atomic::{
        AtomicBool, AtomicU64,
        Ordering::{Relaxed, SeqCst},
    },
    thread,
    time::Duration,
};

use serde_json::Value;

use super::{
    measure::{Extent, Measure},
    users::{bind_times, over_unix, server, within},
};
use crate::{
    agent::{Agent, Config, repeats},
    calls::NOBODY,
    certificates::{authority, large_key},
    metrics::Metrics,
    privileges::as_user,
    tls::client_hello,
    world::{World, port},
};

/// Clients at once.
const CLIENTS: u32 = 64;

const TLS: &str = "tls_server_config: {cert_file: server.crt, key_file: server.key}\n";

/// Handshakes for which the agent signs with a key of 4,096 bits, beside binds.
pub(super) fn with_a_large_key(world: &World, extent: Extent) -> Measure {
    let binds = extent.of(2_000, 20_000);
    let tried = format!("{CLIENTS} loops of handshakes of nobody's beside {binds} binds");
    authority(world, "ca", &[]);
    large_key(world, "server");
    let path = world.path("web.yml");
    fs::write(&path, "{}").expect("written");
    let keys = format!("config_file: {}", path.display());
    let config = Config::new([port(0)]).on(&["lo"]).with_web_keys(&keys);
    let agent = Agent::start(world, &config);
    // The agent waits for its health page, which is encrypted from now on.
    fs::write(&path, TLS).expect("written");
    let (hello, stop, handshakes) = (client_hello(), AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                as_user(NOBODY, || {
                    while !stop.load(SeqCst) {
                        handshakes.fetch_add(u64::from(is_answered(&hello)), Relaxed);
                    }
                });
            });
        }
        within(|| (handshakes.load(Relaxed) > CLIENTS.into()).then_some(()));
        for _ in 0..binds / 10 {
            bind_times(port(0), 10);
            thread::sleep(Duration::from_millis(5));
        }
        stop.store(true, SeqCst);
    });
    let in_events = || agent.events().iter().filter_map(binds_of).sum::<u64>();
    let told = within(|| (in_events() >= binds).then_some(binds)).unwrap_or_else(in_events);
    let lost = over_unix("/metrics")
        .map(|(_, text)| Metrics::parse(text).sum("ghostport_events_lost_total", &[]));
    let handshakes = handshakes.into_inner();
    let seen = format!(
        "{handshakes} handshakes; {told} of {binds} binds in events, {} lost",
        lost.map_or("unknown".to_owned(), |lost| lost.to_string())
    );
    let is_repelled = told == binds && lost == Some(0) && handshakes > CLIENTS.into();
    Measure::new(tried, seen, is_repelled)
}

/// Whether the server signs, which it does before it answers. A connection without a slot is closed.
fn is_answered(hello: &[u8]) -> bool {
    let answer = |mut stream: TcpStream| {
        stream.set_read_timeout(Some(Duration::from_secs(3)))?;
        stream.write_all(hello)?;
        stream.read(&mut [0; 5])
    };
    TcpStream::connect(server()).and_then(answer).is_ok_and(|bytes| bytes == 5)
}

/// How many binds an event stands for.
fn binds_of(event: &Value) -> Option<u64> {
    let is_bind =
        event["event.name"] == "ghostport.bind" || event["ghostport.summary_of"] == "bind";
    (is_bind && event["network.local.port"] == u64::from(port(0))).then(|| repeats(event))
}
