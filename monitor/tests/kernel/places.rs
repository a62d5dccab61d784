//! The flat array of counters has places for some interfaces and room for some ports: what comes later
//! is counted elsewhere, a place that is given up is given out again, and no count is lost.

use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
};

use monitor_common::flow::{Direction, Protocol, Side};
use monitor_kernel::{
    Kernel, Options,
    interfaces::{Interface, Link},
    mechanism::InterfaceMode,
};
use testkit::{
    frames::plain_udp,
    sh,
    wire::{Wire, index_of},
    world::{in_world, set_sysctl},
};

const FIRST: u16 = 2948;
const ELSEWHERE: u16 = 9;

/// More than a trial has places for.
const INTERFACES: usize = 18;

/// More than a trial has room for.
const MANY_PORTS: usize = 1000;

/// One end of a pair of its own.
fn interface(name: &str) -> Interface {
    sh(&format!("ip link add {name} type veth peer name {name}p"));
    for end in [name, &format!("{name}p")] {
        set_sysctl(&format!("net/ipv6/conf/{end}/disable_ipv6"), "1");
        sh(&format!("ip link set {end} up"));
    }
    Interface::new(index_of(name), name, 1500, Link::Veth)
}

fn send(interfaces: &BTreeMap<u32, Interface>, source: u16, datagrams: usize) {
    for interface in interfaces.values() {
        let wire = Wire::open(&interface.name);
        for _ in 0..datagrams {
            wire.send(&plain_udp(source, ELSEWHERE));
        }
    }
}

/// Datagrams that left from a port, by interface.
fn sent(kernel: &Kernel, port: u16) -> BTreeMap<String, u64> {
    let rows = kernel.port_counters().traffic.into_iter().filter(|row| row.port == port);
    rows.map(|row| {
        let traffic = row.counters.traffic(Protocol::Udp, Direction::Egress, Side::Local);
        (row.interface, traffic.packets)
    })
    .collect()
}

fn all(interfaces: &BTreeMap<u32, Interface>, amount: u64) -> BTreeMap<String, u64> {
    interfaces.values().map(|interface| (interface.name.clone(), amount)).collect()
}

fn start(ports: &BTreeSet<u16>, interfaces: &BTreeMap<u32, Interface>) -> Kernel {
    let (mut kernel, _streams) = Kernel::start(Options::TRIAL).expect("started");
    kernel.watch(ports).expect("watched");
    attach(&mut kernel, interfaces);
    kernel
}

fn attach(kernel: &mut Kernel, interfaces: &BTreeMap<u32, Interface>) {
    kernel.reconcile(interfaces, interfaces, InterfaceMode::Auto);
    let detached = kernel
        .hooks()
        .into_iter()
        .filter(|hook| hook.interface.is_some() && hook.attached.is_none());
    assert_eq!(detached.count(), 0, "{:?}", kernel.hooks());
}

fn count_through_all_changes() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let _guard = runtime.enter();
    let named = |names: std::ops::Range<usize>| -> BTreeMap<u32, Interface> {
        let interfaces = names.map(|number| interface(&format!("gp{number}")));
        interfaces.map(|interface| (interface.index, interface)).collect()
    };
    let mut interfaces = named(0..INTERFACES);
    let mut ports = BTreeSet::from([FIRST]);
    let mut kernel = start(&ports, &interfaces);
    send(&interfaces, FIRST, 3);
    assert_eq!(sent(&kernel, FIRST), all(&interfaces, 3));

    // Four give up their places to four others.
    let gone: Vec<u32> = interfaces.keys().take(4).copied().collect();
    for index in gone {
        interfaces.remove(&index);
    }
    attach(&mut kernel, &interfaces);
    let mut counts = all(&interfaces, 3);
    assert_eq!(sent(&kernel, FIRST), counts);
    let new = named(INTERFACES..INTERFACES + 4);
    counts.extend(all(&new, 0));
    interfaces.extend(new);
    attach(&mut kernel, &interfaces);
    assert_eq!(sent(&kernel, FIRST), counts);
    send(&interfaces, FIRST, 2);
    counts.values_mut().for_each(|count| *count += 2);
    assert_eq!(sent(&kernel, FIRST), counts);

    // More ports than the array has room for.
    let first = FIRST + 1;
    ports.extend((first..).take(MANY_PORTS));
    let last = *ports.last().expect("a port");
    kernel.watch(&ports).expect("watched");
    send(&interfaces, last, 4);
    send(&interfaces, FIRST, 1);
    counts.values_mut().for_each(|count| *count += 1);
    assert_eq!(sent(&kernel, FIRST), counts);
    assert_eq!(sent(&kernel, last), all(&interfaces, 4));

    // The next agent finds all of it.
    drop(kernel);
    send(&interfaces, last, 1);
    send(&interfaces, FIRST, 1);
    counts.values_mut().for_each(|count| *count += 1);
    let kernel = start(&ports, &interfaces);
    assert_eq!(sent(&kernel, FIRST), counts);
    assert_eq!(sent(&kernel, last), all(&interfaces, 5));
}

#[test]
fn every_interface_and_port_is_counted_wherever_there_is_room() {
    in_world(|_| {
        thread::scope(|scope| {
            // The tables of a map are read by value.
            let thread = thread::Builder::new().stack_size(16 << 20);
            let thread = thread.spawn_scoped(scope, count_through_all_changes).expect("spawned");
            thread.join().expect("counted");
        });
    });
}
