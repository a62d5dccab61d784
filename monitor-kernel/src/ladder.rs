//! Which mechanisms may serve a hook, best first. Pure: the table that [`super::attach`] walks.

use super::{
    hooks::{Hook, HookMechanism, HookStatus, PassedOver},
    interfaces::Link,
};
use crate::mechanism::{BindMechanism, InterfaceMode};

/// What to try, and what not even to try.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ladder {
    /// Mechanisms to try, best first.
    pub rungs: Vec<HookMechanism>,
    /// Mechanisms that cannot do right here, and why.
    pub unfit: Vec<PassedOver>,
}

/// The ladder of a traffic hook on an interface.
pub fn of_traffic(hook: Hook, mode: InterfaceMode, link: Link) -> Ladder {
    use HookMechanism::{Clsact, Tcx, XdpGeneric, XdpNative};
    let rungs: &[HookMechanism] = match (hook, mode) {
        (Hook::Ingress, InterfaceMode::Auto) => &[XdpNative, Tcx, Clsact, XdpGeneric],
        (Hook::Ingress, InterfaceMode::XdpNative) => &[XdpNative],
        (Hook::Ingress, InterfaceMode::XdpGeneric) => &[XdpGeneric],
        _ => &[Tcx, Clsact],
    };
    let mut ladder = Ladder::default();
    for mechanism in rungs {
        match unfit(*mechanism, link) {
            None => ladder.rungs.push(*mechanism),
            Some(why) => {
                ladder.unfit.push(PassedOver { mechanism: *mechanism, why: why.to_owned() });
            }
        }
    }
    ladder
}

impl HookStatus {
    /// Whether it is a traffic hook whose mechanism is not the one that `mode` would try first: what
    /// is attached stays as it is while the agent runs.
    pub fn outlives_change_to(&self, mode: InterfaceMode) -> bool {
        let is_traffic = matches!(self.hook, Hook::Ingress | Hook::Egress);
        let first = || of_traffic(self.hook, mode, Link::Ethernet).rungs.first().copied();
        is_traffic && self.attached.is_some() && self.attached != first()
    }
}

/// The ladder of a socket hook. Where something keeps programs from reading sockets, those rungs
/// are left whose context tells enough; on the others they would see nothing and say nothing.
pub fn of_sockets(hook: Hook, mechanism: BindMechanism, obstacle: Option<&str>) -> Ladder {
    use HookMechanism::{Cgroup, CgroupSuccess, Fexit, Kprobe, Tracepoint};
    let rungs = match (hook, mechanism) {
        (Hook::Bind, BindMechanism::Auto) => {
            vec![Fexit, Kprobe, Cgroup, Tracepoint, CgroupSuccess]
        }
        (Hook::Bind, BindMechanism::Cgroup) => vec![Cgroup, CgroupSuccess],
        (Hook::Listen, _) | (_, BindMechanism::Tracepoint) => vec![Tracepoint],
        (_, BindMechanism::Auto) => vec![Fexit, Kprobe, Cgroup, Tracepoint],
        (_, BindMechanism::Fexit) => vec![Fexit],
        (_, BindMechanism::Kprobe) => vec![Kprobe],
        (_, BindMechanism::Cgroup) => vec![Cgroup],
    };
    let Some(why) = obstacle else { return Ladder { rungs, unfit: Vec::new() } };
    let (rungs, unfit) = rungs.into_iter().partition(|rung| needs_no_socket(hook, *rung));
    let unfit: Vec<HookMechanism> = unfit;
    let passed_over = |mechanism| PassedOver { mechanism, why: why.to_owned() };
    Ladder { rungs, unfit: unfit.into_iter().map(passed_over).collect() }
}

/// Whether the context of its programs tells family, protocol and port.
fn needs_no_socket(hook: Hook, mechanism: HookMechanism) -> bool {
    match hook {
        Hook::Bind => mechanism == HookMechanism::CgroupSuccess,
        _ => mechanism == HookMechanism::Tracepoint,
    }
}

/// Why a mechanism would count wrongly on such an interface.
fn unfit(mechanism: HookMechanism, link: Link) -> Option<&'static str> {
    use HookMechanism::{XdpGeneric, XdpNative};
    match (mechanism, link) {
        (_, Link::Other) => Some("its packets start with neither an Ethernet nor an IP header"),
        (XdpNative | XdpGeneric, Link::Ip) => Some("its packets have no Ethernet header"),
        (XdpNative, Link::Tap) => {
            Some("a tap device hands over super-packets, which native XDP would count as one")
        }
        // `bond_enslave` in drivers/net/bonding/bond_main.c.
        (XdpNative, Link::Bond) => {
            Some("a bond with an XDP program refuses new ports that have one, or that cannot")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_new_mode_would_do_as_well_is_not_left_for_the_next_start() {
        let status = |hook, attached| HookStatus {
            hook,
            interface: Some("eth0".to_owned()),
            attached,
            adopted: false,
            passed_over: Vec::new(),
        };
        let ingress = status(Hook::Ingress, Some(HookMechanism::Tcx));
        assert!(!ingress.outlives_change_to(InterfaceMode::Tc));
        assert!(ingress.outlives_change_to(InterfaceMode::Auto), "it would try native XDP");
        assert!(ingress.outlives_change_to(InterfaceMode::XdpGeneric));
        let egress = status(Hook::Egress, Some(HookMechanism::Tcx));
        assert!(!egress.outlives_change_to(InterfaceMode::XdpGeneric));
        assert!(!status(Hook::Ingress, None).outlives_change_to(InterfaceMode::Tc));
        assert!(
            !status(Hook::Bind, Some(HookMechanism::Fexit)).outlives_change_to(InterfaceMode::Tc)
        );
    }

    #[test]
    fn a_forced_mode_is_one_rung() {
        let rungs = |mode| of_traffic(Hook::Ingress, mode, Link::Ethernet).rungs;
        assert_eq!(rungs(InterfaceMode::XdpNative), [HookMechanism::XdpNative]);
        assert_eq!(rungs(InterfaceMode::XdpGeneric), [HookMechanism::XdpGeneric]);
        assert_eq!(rungs(InterfaceMode::Tc), [HookMechanism::Tcx, HookMechanism::Clsact]);
    }

    #[test]
    fn what_cannot_read_is_not_attached() {
        let ladder = |hook| of_sockets(hook, BindMechanism::Auto, Some("locked"));
        for (hook, left) in [
            (Hook::Bind, HookMechanism::CgroupSuccess),
            (Hook::Listen, HookMechanism::Tracepoint),
            (Hook::Close, HookMechanism::Tracepoint),
        ] {
            assert_eq!(ladder(hook).rungs, [left]);
            assert!(ladder(hook).unfit.iter().all(|unfit| unfit.why == "locked"));
        }
        assert_eq!(ladder(Hook::Bind).unfit.len(), 4);
        let forced = of_sockets(Hook::Bind, BindMechanism::Fexit, Some("locked"));
        assert!(forced.rungs.is_empty() && forced.unfit.len() == 1);
    }

    #[test]
    fn egress_is_never_xdp() {
        for mode in [InterfaceMode::Auto, InterfaceMode::XdpNative, InterfaceMode::XdpGeneric] {
            let rungs = of_traffic(Hook::Egress, mode, Link::Ethernet).rungs;
            assert_eq!(rungs, [HookMechanism::Tcx, HookMechanism::Clsact]);
        }
    }

    #[test]
    fn a_device_without_ethernet_is_left_to_tc() {
        let ladder = of_traffic(Hook::Ingress, InterfaceMode::Auto, Link::Ip);
        assert_eq!(ladder.rungs, [HookMechanism::Tcx, HookMechanism::Clsact]);
        assert_eq!(ladder.unfit.len(), 2);
    }
}
