//! What a reload, a restart and a ring buffer that is full leave known.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    process::{self},
    time::Duration,
};

use ghostport::api::event::Events;
use rustix::net::{AddressFamily, connect};
use testkit::{
    agent::{Agent, Config},
    calls::udp,
    eventually, eventually_within, patience,
    world::{in_world, set_sysctl},
};

use super::support::{ask, assert_state, config, first_holder, probe, watched};

/// Another store takes another start: until then history is where it was.
#[test]
fn a_reload_keeps_the_store() {
    in_world(|world| {
        let agent = Agent::start(world, &config());
        let path = config().write(world);
        let elsewhere =
            fs::read_to_string(&path).expect("YAML").replace("ghostport.db", "other.db");
        fs::write(path, elsewhere).expect("written");
        assert!(agent.reload(), "{}", agent.log());
        let answer: Events = ask("/api/v1/events");
        assert!(!answer.events.is_empty());
    });
}

/// While a port is not watched, its counters in the kernel and its history stay as they are. No event
/// is sent twice.
#[test]
fn a_port_watched_again_keeps_its_counts_and_history() {
    in_world(|world| {
        let peer = world.peer();
        let agent = Agent::start(world, &config());
        probe(&peer);
        drop(UdpSocket::bind((Ipv4Addr::LOCALHOST, watched())).expect("bound"));
        let port = watched().to_string();
        let known = || {
            let metrics = agent.metrics();
            let sum = |name: &str| metrics.sum(name, &[("port", &port)]);
            let latest = |name: &str| {
                ["tcp", "udp"]
                    .map(|protocol| metrics.value(name, &[("port", &port), ("protocol", protocol)]))
            };
            let counts = [
                "ghostport_packets_total",
                "ghostport_binds_total",
                "ghostport_unexpected_binds_total",
                "ghostport_awakenings_total",
            ];
            let times = ["ghostport_last_packet_timestamp_seconds"];
            (counts.map(sum), times.map(latest))
        };
        eventually("bind and packet told", || {
            let ([packets, binds, unexpected, awakenings], _) = known();
            (packets > 0 && binds == 1 && unexpected == 1 && awakenings == 1).then_some(())
        });
        // The reading that finds the packet comes once more: it is the time of the last one then.
        std::thread::sleep(Duration::from_secs(2));
        let before = known();

        Config::new([testkit::world::port(1)]).on(&["lo", "gp0"]).write(world);
        assert!(agent.reload(), "{}", agent.log());
        config().write(world);
        assert!(agent.reload(), "{}", agent.log());
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!(known(), before);
        assert_eq!(agent.count_events("awakened"), 1);
    });
}

/// No bind asked for this port, so no event reports it. The next scan of all sockets finds it, and
/// says that it came from the scan.
#[test]
fn finds_a_socket_whose_events_were_lost() {
    in_world(|world| {
        let agent = Agent::start(world, &config());
        let differences = || agent.metrics().sum("ghostport_holder_differences_total", &[]);
        assert_state(&agent, "quiet", true);
        assert_eq!(differences(), 0);
        // The only port that the kernel may choose.
        let range = format!("{0} {0}", watched());
        set_sysctl("net/ipv4/ip_local_port_range", &range);
        let socket = udp(AddressFamily::INET);
        let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        connect(&socket, &nobody).expect("connected");
        set_sysctl("net/ipv4/ip_local_port_range", "32768 60999");
        eventually_within(patience() * 2, "the next look", || (differences() == 1).then_some(()));
        let view = assert_state(&agent, "bound", false);
        assert_eq!(view.sockets[0].peer_port, Some(9), "{view:?}");
        assert_eq!(first_holder(&view.sockets[0]), process::id(), "{view:?}");
    });
}
