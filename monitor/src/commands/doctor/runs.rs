//! Whether the programs of a running agent's hooks run. The kernel counts runs for a moment, in which
//! doctor makes socket calls and a packet on the loopback interface, and the host goes on with its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{Ipv4Addr, TcpListener, UdpSocket},
    thread,
    time::Duration,
};

use monitor_common::flow::LOOPBACK;
use monitor_kernel::{
    capabilities,
    hooks::Hook,
    interfaces::{Interface, Interfaces, PacketCounts},
    running::Running,
    runs::RunCounts,
};

use super::facts::Fact;

/// How long runs are counted.
const MOMENT: Duration = Duration::from_millis(200);

/// Fewer packets prove nothing: the kernel counts frames that no hook is shown, as those that pause a
/// link.
const ENOUGH: u64 = 20;

/// A hook of the agent, and the ids of its programs.
type Programs = BTreeMap<(Hook, u32), BTreeSet<u32>>;

/// The fact; `None` where this process may not have runs counted, or the agent has no pins. Calls are
/// made only if `may_call`: not where a port of the kernel's choice may be watched.
pub(super) fn fact(running: &Running, all: &[Interface], may_call: bool) -> Option<Fact> {
    let programs = running.programs();
    if programs.is_empty() || !capabilities::has_sys_admin() {
        return None;
    }
    let outcome = count(&programs, may_call).inspect_err(
        |error| tracing::debug!(%error, "whether the programs of the hooks run is unknown"),
    );
    let (runs, packets) = outcome.ok()?;
    let name = |ifindex: u32| {
        let found = all.iter().find(|interface| interface.index == ifindex);
        found.map_or_else(|| ifindex.to_string(), |interface| interface.name.clone())
    };
    let mut idle = Vec::new();
    let mut ran = 0;
    for ((hook, ifindex), ids) in &programs {
        if ids.iter().any(|id| runs.get(id).is_some_and(|runs| *runs > 0)) {
            ran += 1;
            continue;
        }
        match expected(*hook, *ifindex, &packets, may_call) {
            0 => {}
            _ if *ifindex == 0 => idle.push(hook.to_string()),
            count => idle.push(format!("{hook} of {} beside {count} packets", name(*ifindex))),
        }
    }
    let all = programs.len();
    let value = format!("{ran} of {all} hooks ran in {} ms", MOMENT.as_millis());
    let fact = Fact::ok("Programs", "runs", value);
    Some(if idle.is_empty() {
        fact
    } else {
        let costs = format!("what these should have seen: {}", idle.join(", "));
        fact.lost(costs, "restart the agent; if that does not help, report it with this page")
    })
}

/// How many runs a hook should have had at least, as far as that is known.
fn expected(
    hook: Hook,
    ifindex: u32,
    packets: &BTreeMap<u32, PacketCounts>,
    may_call: bool,
) -> u64 {
    let Some(packets) = packets.get(&ifindex) else { return u64::from(ifindex == 0 && may_call) };
    let count = if hook == Hook::Egress { packets.sent } else { packets.received };
    let enough = if ifindex == LOOPBACK { 1 } else { ENOUGH };
    if count < enough { 0 } else { count }
}

/// Runs of each program, and packets of each interface, in the same moment.
fn count(
    programs: &Programs,
    may_call: bool,
) -> io::Result<(BTreeMap<u32, u64>, BTreeMap<u32, PacketCounts>)> {
    let netlink = Interfaces::connect()?;
    let ids: BTreeSet<u32> = programs.values().flatten().copied().collect();
    let counting = RunCounts::begin(ids)?;
    let before = netlink.packets()?;
    if may_call {
        call()?;
    }
    thread::sleep(MOMENT);
    let after = netlink.packets()?;
    let packets = after.into_iter().filter_map(|(ifindex, after)| {
        let before = before.get(&ifindex)?;
        Some((ifindex, after.since(*before)))
    });
    Ok((counting.so_far()?, packets.collect()))
}

/// Binds, listens, sends a datagram to itself, and closes.
fn call() -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.send_to(b"ghostport", socket.local_addr()?)?;
    drop(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_packets_prove_nothing_but_on_the_loopback_interface() {
        let counts = PacketCounts { received: 1, sent: 100 };
        let packets = BTreeMap::from([(LOOPBACK, counts), (2, counts)]);
        let expected = |hook, ifindex| expected(hook, ifindex, &packets, true);
        assert_eq!(expected(Hook::Ingress, LOOPBACK), 1);
        assert_eq!(expected(Hook::Ingress, 2), 0);
        assert_eq!(expected(Hook::Egress, 2), 100);
        assert_eq!(expected(Hook::Egress, 3), 0, "an interface that is gone");
        assert_eq!(expected(Hook::Bind, 0), 1);
    }
}
