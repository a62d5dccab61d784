//! A port counts from the moment it is watched to the moment it is not.

use testkit::{
    agent::{Agent, Config},
    frames::plain_udp,
    metrics::{Counts, expect},
    wire::Wire,
    world::{Peer, in_world, port},
};

use super::{
    flood::{Flood, assert_flood_counted},
    support::{first, kernel_errors, other, settle, veth_world, watched},
};

#[test]
fn a_reload_loses_no_frame_on_ports_that_stay() {
    in_world(|world| {
        let (peer, agent) = veth_world(world, "auto");
        let few = Config::new(watched().into_iter().chain([port(3), port(4), port(5)]));
        let few = few.on(&["gp0"]);
        let many: Vec<u16> = watched().into_iter().chain(40_000..41_998).collect();
        let many = Config::new(many).on(&["gp0"]);
        let flood = Flood::start(&peer);
        flood.wait_for(500_000);
        for config in [&few, &many, &few, &many, &few] {
            config.write(world);
            assert!(agent.reload(), "{}", agent.log());
            flood.wait_for(500_000);
        }
        assert_flood_counted(&agent, flood.end());
        assert_eq!(kernel_errors(&agent.metrics()), Counts::new());
    });
}

/// Frames to a port count from the moment it is watched to the moment it is not, and what it has
/// counted is there again when it is watched again.
#[test]
fn counts_a_port_while_it_is_watched() {
    in_world(|world| {
        let (peer, agent) = veth_world(world, "auto");
        let send = || {
            peer.run(|| Wire::open("peer0").send(&plain_udp(other(), port(6))));
            settle();
        };
        let packets = || {
            let port = port(6).to_string();
            agent.metrics().sum("ghostport_packets_total", &[("port", &port)])
        };
        let with = Config::new([first(), port(6)]).on(&["gp0"]);
        let without = Config::new(watched()).on(&["gp0"]);
        send();
        with.write(world);
        assert!(agent.reload());
        assert_eq!(packets(), 0);
        send();
        assert_eq!(packets(), 1);
        without.write(world);
        assert!(agent.reload());
        send();
        with.write(world);
        assert!(agent.reload());
        assert_eq!(packets(), 1);
        send();
        assert_eq!(packets(), 2);
    });
}

/// Every port at once, and a few of them hit.
#[test]
fn watches_all_ports() {
    in_world(|world| {
        let peer = Peer::alone();
        world.veth("gp0", &peer, "peer0");
        let sentinel = port(99);
        let all = (1..=u16::MAX).filter(|port| *port != sentinel && *port != 9);
        let config = Config { listen: 9, ..Config::new(all).on(&["gp0"]) };
        let agent = Agent::start(world, &config);
        let counted = agent.metrics().traffic();
        peer.run(|| {
            let wire = Wire::open("peer0");
            for port in [1, 2948, 65535] {
                wire.send(&plain_udp(9, port));
            }
        });
        let mut expected = Counts::new();
        for port in ["1", "2948", "65535"] {
            let labels = [
                ("interface", "gp0"),
                ("port", port),
                ("protocol", "udp"),
                ("direction", "ingress"),
                ("side", "local"),
            ];
            expect(&mut expected, "ghostport_packets_total", &labels, 1);
            expect(&mut expected, "ghostport_bytes_total", &labels, 60);
        }
        agent.assert_traffic(&counted, &expected, "three datagrams");
    });
}
