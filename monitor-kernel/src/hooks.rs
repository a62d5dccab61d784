//! Hooks, the mechanisms that can serve them, and how each attempt ended.
//!
//! Doctor, the metrics and the log all show one value, [`HookStatus`].

use std::fmt;

use serde::{Deserialize, Serialize};

/// A place in the kernel that ghostport observes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hook {
    /// Packets that an interface received.
    Ingress,
    /// Packets that are about to leave through an interface.
    Egress,
    /// `bind(2)` and io_uring binds.
    Bind,
    /// A TCP socket that starts to listen.
    Listen,
    /// A socket that releases its port.
    Close,
    /// A process that sends to a watched port of another host.
    Connect,
}

/// How a hook is served. The names are those of the configuration and the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HookMechanism {
    /// XDP in the driver.
    XdpNative,
    /// The multi-program TC attachment point, Linux 6.6.
    Tcx,
    /// A cls_bpf filter in direct action mode on a clsact qdisc.
    Clsact,
    /// XDP in the stack, after the socket buffer was made.
    XdpGeneric,
    /// BPF trampoline on a kernel function.
    Fexit,
    /// kprobe and kretprobe on a kernel function.
    Kprobe,
    /// Program at the root of the unified cgroup hierarchy.
    Cgroup,
    /// Static tracepoint.
    Tracepoint,
    /// The programs of [`Self::Cgroup`] without the tracepoints that see refused binds.
    CgroupSuccess,
    /// State changes of sockets, without anything that sees whether a listen is refused.
    StateChange,
}

impl Hook {
    /// Every hook, in the order of doctor's report.
    pub const ALL: [Self; 6] =
        [Self::Ingress, Self::Egress, Self::Bind, Self::Listen, Self::Close, Self::Connect];

    /// Those of packets, which every interface has.
    pub const OF_TRAFFIC: [Self; 2] = [Self::Ingress, Self::Egress];

    /// Those of calls on sockets, in the order in which they are attached.
    pub const OF_SOCKETS: [Self; 4] = [Self::Bind, Self::Listen, Self::Close, Self::Connect];

    /// The hook of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|hook| hook.name() == name)
    }

    /// Name in metrics, doctor and pins.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
            Self::Bind => "bind",
            Self::Listen => "listen",
            Self::Close => "close",
            Self::Connect => "connect",
        }
    }

    /// What it provides, for the operator.
    pub const fn purpose(self) -> &'static str {
        match self {
            Self::Ingress => "packets received",
            Self::Egress => "packets sent",
            Self::Bind => "binds, with their result",
            Self::Listen => "TCP sockets that begin to listen",
            Self::Close => "sockets that give a port back",
            Self::Connect => "processes that send to a watched port of another host",
        }
    }
}

impl HookMechanism {
    const ALL: [Self; 10] = [
        Self::XdpNative,
        Self::Tcx,
        Self::Clsact,
        Self::XdpGeneric,
        Self::Fexit,
        Self::Kprobe,
        Self::Cgroup,
        Self::Tracepoint,
        Self::CgroupSuccess,
        Self::StateChange,
    ];

    /// The mechanism of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name() == name)
    }

    /// Name in metrics, doctor, pins and the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::XdpNative => "xdp-native",
            Self::Tcx => "tcx",
            Self::Clsact => "clsact",
            Self::XdpGeneric => "xdp-generic",
            Self::Fexit => "fexit",
            Self::Kprobe => "kprobe",
            Self::Cgroup => "cgroup",
            Self::Tracepoint => "tracepoint",
            Self::CgroupSuccess => "cgroup-success",
            Self::StateChange => "state-change",
        }
    }
}

impl HookMechanism {
    /// What a hook misses with this mechanism.
    pub const fn loses(self, hook: Hook) -> Option<&'static str> {
        match (hook, self) {
            (Hook::Ingress, Self::XdpGeneric) => {
                Some("packets that the stack merged (GRO) count as one")
            }
            (Hook::Bind, Self::Cgroup) => Some("binds by io_uring that are refused"),
            (Hook::Bind, Self::CgroupSuccess) => Some("binds that are refused"),
            (Hook::Bind, Self::Tracepoint) => Some("binds by io_uring"),
            (Hook::Listen, Self::Tracepoint) => {
                Some("whether listens by io_uring and by 32-bit programs are refused")
            }
            (Hook::Listen, Self::StateChange) => {
                Some("whether listens are refused, and listens without a bind")
            }
            (Hook::Close, Self::Tracepoint) => {
                Some("UDP sockets, and TCP sockets that never listened")
            }
            _ => None,
        }
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for HookMechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A mechanism that was ruled out or attempted without success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// The mechanism.
    pub mechanism: HookMechanism,
    /// The reason, for the operator.
    pub why: String,
}

/// One hook, on one interface where it has one, and how it is attached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookStatus {
    /// The hook.
    pub hook: Hook,
    /// The interface, for [`Hook::Ingress`] and [`Hook::Egress`].
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub interface: Option<String>,
    /// The mechanism that serves it, `None` if it is not attached.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub attached: Option<HookMechanism>,
    /// Whether it was already attached when this agent started.
    pub adopted: bool,
    /// The better mechanisms, best first, and why they do not serve.
    #[serde(rename = "passed_over")]
    pub rejected: Vec<Rejection>,
}

impl HookStatus {
    /// The same hook after something other than ghostport detached `mechanism`.
    pub(crate) fn detached(&self, mechanism: HookMechanism) -> Self {
        let why = "something other than ghostport detached it".to_owned();
        let rejected = vec![Rejection { mechanism, why }];
        let interface = self.interface.clone();
        Self { hook: self.hook, interface, attached: None, adopted: false, rejected }
    }
}

/// Another status of a hook, and what it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookChange {
    /// The status from now on.
    pub status: HookStatus,
    /// What it is about.
    pub kind: HookChangeKind,
}

/// What another status of a hook is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookChangeKind {
    /// The first attempt to attach it, at the start or on a new interface.
    First,
    /// It was attached or tried before: it was lost, attached again, or failed in another way.
    Another,
    /// Its interface is gone, or no longer selected.
    Gone,
}

impl HookChange {
    /// Whether it is part of normal operation: interfaces come and go.
    pub const fn is_routine(&self) -> bool {
        match self.kind {
            HookChangeKind::First => self.status.attached.is_some(),
            HookChangeKind::Another => false,
            HookChangeKind::Gone => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_are_absent() {
        let status = HookStatus {
            hook: Hook::Bind,
            interface: None,
            attached: None,
            adopted: false,
            rejected: Vec::new(),
        };
        let json = serde_json::to_value(&status).expect("JSON");
        assert_eq!(
            json,
            serde_json::json!({ "hook": "bind", "adopted": false, "passed_over": [] })
        );
        assert_eq!(serde_json::from_value::<HookStatus>(json).expect("read back"), status);
    }

    #[test]
    fn only_losses_and_failures_are_out_of_the_ordinary() {
        let change = |kind, attached| {
            let status = HookStatus {
                hook: Hook::Ingress,
                interface: Some("eth0".into()),
                attached,
                adopted: false,
                rejected: Vec::new(),
            };
            HookChange { status, kind }
        };
        let is_routine = |kind| {
            [None, Some(HookMechanism::Tcx)].map(|attached| change(kind, attached).is_routine())
        };
        assert_eq!(is_routine(HookChangeKind::First), [false, true]);
        assert_eq!(is_routine(HookChangeKind::Another), [false, false]);
        assert_eq!(is_routine(HookChangeKind::Gone), [true, true]);
    }

    #[test]
    fn names_are_the_same_in_json() {
        for hook in Hook::ALL {
            assert_eq!(serde_json::to_value(hook).expect("JSON"), hook.name());
        }
        for mechanism in HookMechanism::ALL {
            assert_eq!(serde_json::to_value(mechanism).expect("JSON"), mechanism.name());
        }
    }
}
