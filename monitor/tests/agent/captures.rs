//! Packet and raw sockets that take packets of a watched port without holding it.

use std::{os::fd::OwnedFd, process, thread, time::Duration};

use ghostport::{
    api::{
        capture::Capture,
        port::{Port, Ports},
    },
    sockets::CaptureKind,
};
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with};
use serde_json::{Value, json};
use testkit::{
    agent::{Agent, Config, finish, ghostport, json as document, stdout},
    bpf::attach_accepting_program,
    eventually,
    receiver::{Answer, Receiver},
    wire::{capturing_socket, udp_to},
    world::{Peer, in_world, netns_inode, port},
};

/// The captures of a port that this process holds, and the exit code.
fn check(port: u16) -> (Option<i32>, Vec<Capture>) {
    let output = finish(ghostport().args(["check", &port.to_string(), "--json"]));
    let Ports { mut ports } = document(&output);
    let captures = ports.remove(0).captures;
    (output.status.code(), captures.into_iter().filter(is_ours).collect())
}

fn is_ours(capture: &Capture) -> bool {
    capture.holders.iter().flatten().any(|holder| holder.pid == process::id())
}

#[test]
fn check_reports_a_socket_that_looks_for_a_port() {
    in_world(|_| {
        let _socket = capturing_socket(&udp_to(port(0)));
        let (code, captures) = check(port(0));
        assert_eq!((code, captures.len()), (Some(1), 1), "{captures:?}");
        let capture = &captures[0];
        assert_eq!(capture.kind, CaptureKind::PacketSocket);
        assert_eq!(capture.filter, format!("only port {}/udp", port(0)));
        assert!(capture.only_watched);
        assert_eq!(capture.netns_inode.map(u64::from), Some(netns_inode()));
        let page = stdout(&finish(ghostport().args(["check", &port(0).to_string()])));
        let line = format!("packet socket: only port {}/udp", port(0));
        assert!(page.contains(&line), "{page}");
    });
}

#[test]
fn check_reports_a_socket_in_another_network_namespace() {
    in_world(|_| {
        let peer = Peer::alone();
        let (there, _socket) = peer.run(|| (netns_inode(), capturing_socket(&udp_to(port(0)))));
        let (code, captures) = check(port(0));
        assert_eq!((code, captures.len()), (Some(1), 1), "{captures:?}");
        assert_eq!(captures[0].netns_inode.map(u64::from), Some(there));
        assert!(captures[0].only_watched);
    });
}

#[test]
fn check_does_not_count_a_capture_of_everything_as_use() {
    in_world(|_| {
        let _everything = capturing_socket(&[]);
        let (code, captures) = check(port(0));
        assert_eq!((code, captures.len()), (Some(0), 1), "{captures:?}");
        assert_eq!(captures[0].filter, "everything");
        assert!(!captures[0].only_watched);
        let page = stdout(&finish(ghostport().args(["check", &port(0).to_string()])));
        assert!(page.contains("packet socket: everything"), "{page}");
    });
}

#[test]
fn check_does_not_report_a_filter_for_another_port() {
    in_world(|_| {
        let _socket = capturing_socket(&udp_to(80));
        assert_eq!(check(port(0)), (Some(0), Vec::new()));
    });
}

fn raw_socket() -> OwnedFd {
    let (kind, flags) = (SocketType::RAW, SocketFlags::CLOEXEC);
    socket_with(AddressFamily::INET, kind, flags, Some(ipproto::UDP)).expect("a raw socket")
}

#[test]
fn check_reports_a_raw_socket_with_its_protocol() {
    in_world(|_| {
        let _socket = raw_socket();
        let (code, captures) = check(port(0));
        assert_eq!((code, captures.len()), (Some(0), 1), "{captures:?}");
        assert_eq!(captures[0].kind, CaptureKind::RawSocket);
        assert_eq!(captures[0].filter, "every UDP packet over IPv4");
    });
}

#[test]
fn the_agent_emits_one_event_and_alerts_only_where_a_port_is_looked_for() {
    in_world(|world| {
        let alertmanager = Receiver::start(|_| Answer::Status(200));
        let sink = format!("{{kind: alertmanager, url: \"{}\"}}", alertmanager.url());
        let config = Config::new([port(0)]).with_sinks([sink]);
        let targeted = capturing_socket(&udp_to(port(0)));
        let everything = capturing_socket(&[]);
        let agent = Agent::start(world, &config);
        let captured = || -> Vec<Value> {
            let events = agent.events().into_iter();
            events.filter(|event| event["event.name"] == "ghostport.captured").collect()
        };
        eventually("two events", || (captured().len() >= 2).then_some(()));
        let events = captured();
        let of = |filter: &str| -> Vec<&Value> {
            let events = events.iter();
            events.filter(|event| event["ghostport.filter"] == filter).collect()
        };
        let only = of(&format!("only port {}/udp", port(0)));
        assert_eq!(only.len(), 1, "{events:#?}");
        let expected = json!([port(0), "udp", "packet_socket", process::id(), netns_inode()]);
        let fields = [
            "ghostport.port",
            "network.transport",
            "ghostport.path",
            "process.pid",
            "ghostport.netns_inode",
        ];
        assert_eq!(json!(fields.map(|field| &only[0][field])), expected);
        assert_eq!(of("everything").len(), 1, "{events:#?}");
        let alerts = || -> Vec<Value> {
            let alerts = alertmanager.elements().into_iter();
            alerts.filter(|a| a["labels"]["alertname"] == "GhostportPortCaptured").collect()
        };
        eventually("an alert", || (!alerts().is_empty()).then_some(()));
        let alerts = alerts();
        assert_eq!(alerts.len(), 1, "{alerts:#?}");
        assert_eq!(alerts[0]["labels"]["port"], port(0).to_string());
        let answer: Port = agent.ask(&format!("/api/v1/ports/{}", port(0)));
        assert_eq!(answer.captures.len(), 2, "{answer:#?}");
        drop((targeted, everything));
    });
}

#[test]
fn a_packet_socket_that_lives_for_a_moment_is_seen() {
    in_world(|world| {
        let agent = Agent::start(world, &Config::new([port(0)]));
        let captured = || {
            let mut events = agent.events().into_iter();
            events.find(|event| {
                let filter = format!("only port {}/udp", port(0));
                event["event.name"] == "ghostport.captured" && event["ghostport.filter"] == filter
            })
        };
        // After the first scan, and long before the next.
        thread::sleep(Duration::from_secs(3));
        let socket = capturing_socket(&udp_to(port(0)));
        thread::sleep(Duration::from_millis(300));
        drop(socket);
        let event = eventually("an event", captured);
        assert_eq!(event["process.pid"], process::id(), "{event}");
        assert_eq!(event["ghostport.netns_inode"], netns_inode(), "{event}");
    });
}

#[test]
fn an_ebpf_filter_is_unknown_and_not_everything() {
    in_world(|_| {
        let socket = capturing_socket(&[]);
        attach_accepting_program(&socket);
        let (code, captures) = check(port(0));
        assert_eq!((code, captures.len()), (Some(0), 1), "{captures:?}");
        assert_eq!(captures[0].filter, "unknown: an eBPF program");
        assert!(!captures[0].only_watched);
    });
}
