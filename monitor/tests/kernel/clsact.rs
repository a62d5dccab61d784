//! The TC rung of kernels without TCX, forced on one that has it: filters on a clsact qdisc.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{net::UdpSocket, thread};

use monitor_common::flow::{Direction, Protocol, Side};
use monitor_kernel::{
    Kernel, Options,
    hooks::{Hook, HookMechanism},
    interfaces::{Interface, Interfaces, Link},
    snapshot::Snapshot,
};
use testkit::{sh, world::in_world};

const PORT: u16 = 2948;

/// The table of port indices is read by value, 128 KiB at a time.
const STACK_SIZE: usize = 16 << 20;

/// Runs `test` in a world, on a thread that has this much stack.
fn with_stack(test: impl AsyncFnOnce() + Send) {
    let body = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(test());
    };
    in_world(|_| {
        thread::scope(|scope| {
            let thread = thread::Builder::new().stack_size(STACK_SIZE);
            thread.spawn_scoped(scope, body).unwrap().join().unwrap();
        });
    });
}

fn loopback() -> Interface {
    Interface::new(1, "lo", 65536, Link::Ethernet)
}

fn send(datagrams: usize) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..datagrams {
        socket.send_to(b"x", ("127.0.0.1", PORT)).unwrap();
    }
}

fn packets(snapshot: &Snapshot, direction: Direction, side: Side) -> u64 {
    let row = snapshot.traffic.iter().find(|row| row.port == PORT).unwrap();
    row.counters.traffic(Protocol::Udp, direction, side).packets
}

fn start() -> Kernel {
    let (mut kernel, _streams) = Kernel::start(Options::TRIAL).unwrap();
    kernel.watch(&[PORT].into()).unwrap();
    kernel
}

#[test]
fn filters_count_both_directions_until_detached() {
    with_stack(async || {
        let mut kernel = start();
        for hook in [Hook::Ingress, Hook::Egress] {
            kernel.attach_by(hook, HookMechanism::Clsact, &loopback()).unwrap();
        }
        send(7);
        let snapshot = kernel.snapshot().unwrap();
        assert_eq!(packets(&snapshot, Direction::Ingress, Side::Local), 7);
        assert_eq!(packets(&snapshot, Direction::Egress, Side::Remote), 7);
        assert!(sh("tc qdisc show dev lo").contains("clsact"));

        let netlink = Interfaces::connect().unwrap();
        kernel.detach_hooks().unwrap();
        assert_eq!(kernel.idle_qdiscs(), [1]);
        netlink.remove_empty_clsact(1);
        assert!(!sh("tc qdisc show dev lo").contains("clsact"));
    });
}

#[test]
fn adopts_the_filters_of_a_killed_agent() {
    with_stack(async || {
        let mut killed = start();
        killed.attach_by(Hook::Ingress, HookMechanism::Clsact, &loopback()).unwrap();
        drop(killed);
        send(3);
        let mut next = start();
        next.attach_by(Hook::Ingress, HookMechanism::Clsact, &loopback()).unwrap();
        send(4);
        let snapshot = next.snapshot().unwrap();
        assert_eq!(packets(&snapshot, Direction::Ingress, Side::Local), 7);
        let filters = sh("tc filter show dev lo ingress");
        assert_eq!(filters.matches("direct-action").count(), 1, "{filters}");
    });
}

#[test]
fn leaves_a_foreign_qdisc() {
    with_stack(async || {
        assert!(sh("tc qdisc add dev lo clsact").is_empty());
        let mut kernel = start();
        kernel.attach_by(Hook::Ingress, HookMechanism::Clsact, &loopback()).unwrap();
        kernel.detach_hooks().unwrap();
        assert_eq!(kernel.idle_qdiscs(), [] as [u32; 0]);
        assert!(sh("tc qdisc show dev lo").contains("clsact"));
        assert_eq!(sh("tc filter show dev lo ingress"), "");
    });
}
