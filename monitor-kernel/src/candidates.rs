//! The mechanisms that may serve a hook, best first.

use super::{
    hooks::{Hook, HookMechanism, HookStatus, Rejection},
    link_kind::Link,
};
use crate::mechanism::{BindMechanism, InterfaceMode};

/// Mechanisms to attempt, and mechanisms that are ruled out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Candidates {
    /// Mechanisms to attempt, best first.
    pub mechanisms: Vec<HookMechanism>,
    /// Mechanisms that would count wrongly, and why.
    pub rejected: Vec<Rejection>,
}

/// The candidates for a traffic hook on an interface.
pub fn of_traffic(hook: Hook, mode: InterfaceMode, link: Link) -> Candidates {
    use HookMechanism::{Clsact, Tcx, XdpGeneric, XdpNative};
    let mechanisms: &[HookMechanism] = match (hook, mode) {
        (Hook::Ingress, InterfaceMode::Auto) => &[XdpNative, Tcx, Clsact, XdpGeneric],
        (Hook::Ingress, InterfaceMode::XdpNative) => &[XdpNative],
        (Hook::Ingress, InterfaceMode::XdpGeneric) => &[XdpGeneric],
        _ => &[Tcx, Clsact],
    };
    let mut candidates = Candidates::default();
    for mechanism in mechanisms {
        match unfit_reason(*mechanism, link) {
            None => candidates.mechanisms.push(*mechanism),
            Some(why) => {
                candidates.rejected.push(Rejection { mechanism: *mechanism, why: why.to_owned() });
            }
        }
    }
    candidates
}

impl HookStatus {
    /// Whether this is a traffic hook whose mechanism is not the first candidate of `mode`: a hook
    /// stays attached as it is while the agent runs.
    pub fn outlives_change_to(&self, mode: InterfaceMode) -> bool {
        let is_traffic = matches!(self.hook, Hook::Ingress | Hook::Egress);
        let first = || of_traffic(self.hook, mode, Link::Ethernet).mechanisms.first().copied();
        is_traffic && self.attached.is_some() && self.attached != first()
    }
}

/// The candidates for a socket hook. `unsupported_reason` says why programs cannot read sockets, if
/// they cannot: then the mechanisms remain whose context has family, protocol and port.
pub fn of_sockets(
    hook: Hook,
    mechanism: BindMechanism,
    unsupported_reason: Option<&str>,
) -> Candidates {
    use HookMechanism::{Cgroup, CgroupSuccess, Fexit, Kprobe, StateChange, Tracepoint};
    let mechanisms = match (hook, mechanism) {
        (Hook::Bind, BindMechanism::Auto) => {
            vec![Fexit, Kprobe, Cgroup, Tracepoint, CgroupSuccess]
        }
        (Hook::Bind, BindMechanism::Cgroup) => vec![Cgroup, CgroupSuccess],
        (Hook::Connect, _) => vec![Cgroup, Kprobe],
        (Hook::Listen, BindMechanism::Auto) => vec![Fexit, Kprobe, Tracepoint, StateChange],
        (Hook::Listen, BindMechanism::Fexit) => vec![Fexit, Tracepoint, StateChange],
        (Hook::Listen, BindMechanism::Kprobe) => vec![Kprobe, Tracepoint, StateChange],
        (Hook::Listen, _) => vec![Tracepoint, StateChange],
        (_, BindMechanism::Tracepoint) => vec![Tracepoint],
        (_, BindMechanism::Auto) => vec![Fexit, Kprobe, Cgroup, Tracepoint],
        (_, BindMechanism::Fexit) => vec![Fexit],
        (_, BindMechanism::Kprobe) => vec![Kprobe],
        (_, BindMechanism::Cgroup) => vec![Cgroup],
    };
    let Some(why) = unsupported_reason else {
        return Candidates { mechanisms, rejected: Vec::new() };
    };
    let (mechanisms, others): (_, Vec<HookMechanism>) =
        mechanisms.into_iter().partition(|mechanism| needs_no_socket(hook, *mechanism));
    let reject = |mechanism| Rejection { mechanism, why: why.to_owned() };
    Candidates { mechanisms, rejected: others.into_iter().map(reject).collect() }
}

/// Whether the context of its programs has family, protocol and port.
fn needs_no_socket(hook: Hook, mechanism: HookMechanism) -> bool {
    match hook {
        Hook::Bind => mechanism == HookMechanism::CgroupSuccess,
        Hook::Listen => mechanism == HookMechanism::StateChange,
        Hook::Connect => mechanism == HookMechanism::Cgroup,
        _ => mechanism == HookMechanism::Tracepoint,
    }
}

/// Why a mechanism would count wrongly on such an interface.
fn unfit_reason(mechanism: HookMechanism, link: Link) -> Option<&'static str> {
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
    fn a_hook_outlives_a_mode_with_another_first_candidate() {
        let status = |hook, attached| HookStatus {
            hook,
            interface: Some("eth0".to_owned()),
            attached,
            adopted: false,
            rejected: Vec::new(),
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
    fn a_forced_mode_has_one_candidate() {
        let mechanisms = |mode| of_traffic(Hook::Ingress, mode, Link::Ethernet).mechanisms;
        assert_eq!(mechanisms(InterfaceMode::XdpNative), [HookMechanism::XdpNative]);
        assert_eq!(mechanisms(InterfaceMode::XdpGeneric), [HookMechanism::XdpGeneric]);
        assert_eq!(mechanisms(InterfaceMode::Tc), [HookMechanism::Tcx, HookMechanism::Clsact]);
    }

    #[test]
    fn mechanisms_that_need_sockets_are_rejected_where_sockets_are_unreadable() {
        let candidates = |hook| of_sockets(hook, BindMechanism::Auto, Some("locked"));
        for (hook, left) in [
            (Hook::Bind, HookMechanism::CgroupSuccess),
            (Hook::Listen, HookMechanism::StateChange),
            (Hook::Close, HookMechanism::Tracepoint),
        ] {
            assert_eq!(candidates(hook).mechanisms, [left]);
            assert!(candidates(hook).rejected.iter().all(|rejection| rejection.why == "locked"));
        }
        assert_eq!(candidates(Hook::Bind).rejected.len(), 4);
        let forced = of_sockets(Hook::Bind, BindMechanism::Fexit, Some("locked"));
        assert!(forced.mechanisms.is_empty() && forced.rejected.len() == 1);
    }

    #[test]
    fn egress_has_no_xdp_candidate() {
        for mode in [InterfaceMode::Auto, InterfaceMode::XdpNative, InterfaceMode::XdpGeneric] {
            let mechanisms = of_traffic(Hook::Egress, mode, Link::Ethernet).mechanisms;
            assert_eq!(mechanisms, [HookMechanism::Tcx, HookMechanism::Clsact]);
        }
    }

    #[test]
    fn a_device_without_ethernet_has_only_tc_candidates() {
        let candidates = of_traffic(Hook::Ingress, InterfaceMode::Auto, Link::Ip);
        assert_eq!(candidates.mechanisms, [HookMechanism::Tcx, HookMechanism::Clsact]);
        assert_eq!(candidates.rejected.len(), 2);
    }
}
