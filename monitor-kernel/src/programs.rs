//! The table of the programs that serve each hook by each mechanism. Attaching, adopting and counting
//! links all go by it.

use super::{
    hooks::{Hook, HookMechanism},
    link_kind::Link,
};

/// The function behind the last `close(2)` of an internet socket.
const RELEASE_FUNCTION: &str = "inet_release";

/// The function that makes a TCP socket listen.
pub const LISTEN_FUNCTION: &str = "inet_csk_listen_start";

/// Functions that `inet_bind` and `inet6_bind` call since Linux 6.6, and MPTCP for its subflows.
const BIND_SK_FUNCTIONS: [&str; 2] = ["inet_bind_sk", "inet6_bind_sk"];

/// The tracepoint of every state change of a TCP socket.
const STATE_CHANGE: &str = "inet_sock_set_state";

/// A program, and what it is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgramSpec {
    /// Name of the program in the object.
    pub name: &'static str,
    /// Last part of the name of its link's pin.
    pub pin: &'static str,
    /// What it is attached to.
    pub target: Target,
    when: When,
    /// Whether it stores a bind in flight, which its return removes.
    is_entry: bool,
}

/// What a program is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// An interface's driver.
    XdpNative,
    /// An interface, in the stack.
    XdpGeneric,
    /// An interface's TC hook in the direction of the hook.
    Tc,
    /// Return from a kernel function.
    Fexit(&'static str),
    /// Entry of a kernel function.
    Fentry(&'static str),
    /// Entry of, or return from a kernel function by (k)retprobe, as the program says.
    Kprobe(&'static str),
    /// The root of the unified cgroup hierarchy.
    CgroupRoot,
    /// The same, for programs that see the address of a call.
    CgroupAddress,
    /// A tracepoint, by its arguments.
    RawTracepoint(&'static str),
    /// A tracepoint, by its fields: category and name.
    Tracepoint(&'static str, &'static str),
}

/// Condition for using a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Always,
    /// The kernel has [`BIND_SK_FUNCTIONS`].
    HasBindSk,
    /// [`LISTEN_FUNCTION`] has so many parameters.
    ListenParameters(usize),
    /// Programs can read sockets, or not.
    SocketsReadable(bool),
    /// Packets start with an IP header, or with an Ethernet header.
    StartsWithIp(bool),
    /// The driver refuses a program for packets in one buffer.
    SeveralBuffers,
}

/// What the choice of programs depends on, beside hook and mechanism.
#[derive(Clone, Copy, Debug)]
pub struct Environment {
    /// Whether the kernel has `inet_bind_sk` and `inet6_bind_sk`.
    pub has_bind_sk: bool,
    /// How many parameters [`LISTEN_FUNCTION`] has; `None` if that is not known.
    pub listen_parameters: Option<usize>,
    /// Whether programs can read sockets.
    pub sockets_are_readable: bool,
    /// The interface of a traffic hook.
    pub link: Link,
}

/// The programs that serve `hook` by `mechanism`, in the order of attaching. A return goes before its
/// entry, or a bind that is in flight between the two would stay in the map for ever.
pub fn of(
    hook: Hook,
    mechanism: HookMechanism,
    environment: Environment,
) -> impl Iterator<Item = &'static ProgramSpec> {
    table(hook, mechanism).iter().filter(move |program| program.is_used_in(environment))
}

/// The program to try where the driver refuses the one of [`of`], for interfaces whose packets may
/// take several buffers.
pub fn for_several_buffers(hook: Hook, mechanism: HookMechanism) -> Option<&'static ProgramSpec> {
    table(hook, mechanism).iter().find(|program| program.when == When::SeveralBuffers)
}

/// Whether these programs, by the names of their pins, are all that serve `hook` by `mechanism`.
pub fn are_complete<'a>(
    pins: impl Iterator<Item = &'a str> + Clone,
    hook: Hook,
    mechanism: HookMechanism,
    environment: Environment,
) -> bool {
    let several = for_several_buffers(hook, mechanism);
    let is_several = |pin: &str| several.is_some_and(|program| program.pin == pin);
    of(hook, mechanism, environment).count() == pins.clone().count()
        && of(hook, mechanism, environment)
            .all(|program| pins.clone().any(|pin| pin == program.pin || is_several(pin)))
}

/// Whether the program stores a bind or a listen in flight, which its return removes; by the name of its pin.
pub fn is_entry(pin: &str) -> bool {
    let mechanisms = [HookMechanism::Fexit, HookMechanism::Kprobe, HookMechanism::Tracepoint];
    let hooks = [Hook::Bind, Hook::Listen].into_iter();
    let tables = hooks.flat_map(|hook| mechanisms.map(|mechanism| table(hook, mechanism)));
    let mut entries = tables.flatten();
    entries.any(|program| program.pin == pin && program.is_entry)
}

/// Whether the kernel has the functions with a program of their own since Linux 6.6.
pub fn has_bind_sk(has_function: impl Fn(&str) -> bool) -> bool {
    BIND_SK_FUNCTIONS.iter().all(|function| has_function(function))
}

/// The kernel functions that programs are attached to by their BTF ids, or by their names.
pub fn traced_functions() -> impl Iterator<Item = &'static str> {
    let programs = [&BIND_FEXIT[..], &CLOSE_FENTRY, &LISTEN_FEXIT[..1]].concat().into_iter();
    programs.filter_map(|program| match program.target {
        Target::Fexit(function) | Target::Fentry(function) => Some(function),
        _ => None,
    })
}

impl ProgramSpec {
    const fn new(name: &'static str, target: Target) -> Self {
        Self { name, pin: name, target, when: When::Always, is_entry: false }
    }

    const fn when(self, when: When) -> Self {
        Self { when, ..self }
    }

    /// A program that is attached several times has a pin for each.
    const fn pinned_as(self, pin: &'static str) -> Self {
        Self { pin, ..self }
    }

    const fn entry(self) -> Self {
        Self { is_entry: true, ..self }
    }

    fn is_used_in(&self, environment: Environment) -> bool {
        match self.when {
            When::Always => true,
            When::HasBindSk => environment.has_bind_sk,
            When::ListenParameters(parameters) => environment.listen_parameters == Some(parameters),
            When::SocketsReadable(readable) => environment.sockets_are_readable == readable,
            When::StartsWithIp(ip) => (environment.link == Link::Ip) == ip,
            When::SeveralBuffers => false,
        }
    }
}

/// The table.
const fn table(hook: Hook, mechanism: HookMechanism) -> &'static [ProgramSpec] {
    use HookMechanism::{
        Cgroup, CgroupSuccess, Clsact, Fexit, Kprobe, StateChange, Tcx, Tracepoint, XdpGeneric,
        XdpNative,
    };
    match (hook, mechanism) {
        (Hook::Ingress, XdpNative) => &XDP_NATIVE,
        (Hook::Ingress, XdpGeneric) => &XDP_GENERIC,
        (Hook::Ingress, Tcx | Clsact) => &TC_INGRESS,
        (Hook::Egress, Tcx | Clsact) => &TC_EGRESS,
        (Hook::Bind, Fexit) => &BIND_FEXIT,
        (Hook::Bind, Kprobe) => &BIND_KPROBE,
        (Hook::Bind, Cgroup) => &BIND_CGROUP,
        (Hook::Bind, Tracepoint) => BIND_CGROUP.split_at(2).0,
        (Hook::Bind, CgroupSuccess) => BIND_CGROUP.split_at(2).1,
        (Hook::Listen, Fexit) => &LISTEN_FEXIT,
        (Hook::Listen, Kprobe) => &LISTEN_KPROBE,
        (Hook::Listen, Tracepoint) => &LISTEN_TRACEPOINT,
        (Hook::Listen, StateChange) => &LISTEN_STATE_CHANGE,
        (Hook::Close, Fexit) => &CLOSE_FENTRY,
        (Hook::Close, Kprobe) => &CLOSE_KPROBE,
        (Hook::Close, Cgroup) => &CLOSE_CGROUP,
        (Hook::Close, Tracepoint) => &CLOSE_TRACEPOINT,
        (Hook::Connect, Cgroup) => &CONNECT_CGROUP,
        (Hook::Connect, Kprobe) => &CONNECT_KPROBE,
        _ => &[],
    }
}

/// With the plain program, a veth pair sends single packets, which can be counted.
const XDP_NATIVE: [ProgramSpec; 2] = [
    ProgramSpec::new("xdp_ingress", Target::XdpNative),
    ProgramSpec::new("xdp_ingress_frags", Target::XdpNative).when(When::SeveralBuffers),
];

const XDP_GENERIC: [ProgramSpec; 1] = [ProgramSpec::new("xdp_ingress", Target::XdpGeneric)];

const TC_INGRESS: [ProgramSpec; 2] = [
    ProgramSpec::new("tc_ingress", Target::Tc).when(When::StartsWithIp(false)),
    ProgramSpec::new("tc_ingress_ip", Target::Tc).when(When::StartsWithIp(true)),
];

const TC_EGRESS: [ProgramSpec; 2] = [
    ProgramSpec::new("tc_egress", Target::Tc).when(When::StartsWithIp(false)),
    ProgramSpec::new("tc_egress_ip", Target::Tc).when(When::StartsWithIp(true)),
];

const BIND_FEXIT: [ProgramSpec; 4] = [
    ProgramSpec::new("bind_fexit_inet", Target::Fexit("inet_bind")),
    ProgramSpec::new("bind_fexit_inet6", Target::Fexit("inet6_bind")),
    ProgramSpec::new("bind_fexit_inet_sk", Target::Fexit("inet_bind_sk")).when(When::HasBindSk),
    ProgramSpec::new("bind_fexit_inet6_sk", Target::Fexit("inet6_bind_sk")).when(When::HasBindSk),
];

const BIND_KPROBE: [ProgramSpec; 8] = [
    ProgramSpec::new("bind_kprobe_return", Target::Kprobe("inet_bind"))
        .pinned_as("bind_kprobe_return-inet_bind"),
    ProgramSpec::new("bind_kprobe_return", Target::Kprobe("inet6_bind"))
        .pinned_as("bind_kprobe_return-inet6_bind"),
    ProgramSpec::new("bind_kprobe_return", Target::Kprobe("inet_bind_sk"))
        .pinned_as("bind_kprobe_return-inet_bind_sk")
        .when(When::HasBindSk),
    ProgramSpec::new("bind_kprobe_return", Target::Kprobe("inet6_bind_sk"))
        .pinned_as("bind_kprobe_return-inet6_bind_sk")
        .when(When::HasBindSk),
    ProgramSpec::new("bind_kprobe_entry", Target::Kprobe("inet_bind"))
        .pinned_as("bind_kprobe_entry-inet_bind")
        .entry(),
    ProgramSpec::new("bind_kprobe_entry", Target::Kprobe("inet6_bind"))
        .pinned_as("bind_kprobe_entry-inet6_bind")
        .entry(),
    ProgramSpec::new("bind_kprobe_entry_sk", Target::Kprobe("inet_bind_sk"))
        .pinned_as("bind_kprobe_entry_sk-inet_bind_sk")
        .when(When::HasBindSk)
        .entry(),
    ProgramSpec::new("bind_kprobe_entry_sk", Target::Kprobe("inet6_bind_sk"))
        .pinned_as("bind_kprobe_entry_sk-inet6_bind_sk")
        .when(When::HasBindSk)
        .entry(),
];

/// The tracepoints of the system call, then the hooks of the cgroup root.
const BIND_CGROUP: [ProgramSpec; 6] = [
    ProgramSpec::new("bind_tracepoint_exit", Target::Tracepoint("syscalls", "sys_exit_bind")),
    ProgramSpec::new("bind_tracepoint_enter", Target::Tracepoint("syscalls", "sys_enter_bind"))
        .entry(),
    ProgramSpec::new("bind_cgroup_post4", Target::CgroupRoot),
    ProgramSpec::new("bind_cgroup_post6", Target::CgroupRoot),
    ProgramSpec::new("bind_cgroup_request4", Target::CgroupAddress),
    ProgramSpec::new("bind_cgroup_request6", Target::CgroupAddress),
];

/// The return, in the form that the kernel's function asks for, and what keeps the socket until then.
const LISTEN_FEXIT: [ProgramSpec; 3] = [
    ProgramSpec::new("listen_fexit", Target::Fexit(LISTEN_FUNCTION))
        .when(When::ListenParameters(1)),
    ProgramSpec::new("listen_fexit_backlog", Target::Fexit(LISTEN_FUNCTION))
        .when(When::ListenParameters(2)),
    ProgramSpec::new("listen_states", Target::RawTracepoint(STATE_CHANGE)).entry(),
];

const LISTEN_KPROBE: [ProgramSpec; 2] = [
    ProgramSpec::new("listen_kprobe_return", Target::Kprobe(LISTEN_FUNCTION)),
    ProgramSpec::new("listen_states", Target::RawTracepoint(STATE_CHANGE)).entry(),
];

/// The tracepoints of the system call, beside those of state changes.
const LISTEN_TRACEPOINT: [ProgramSpec; 3] = [
    ProgramSpec::new("listen_tracepoint_exit", Target::Tracepoint("syscalls", "sys_exit_listen")),
    ProgramSpec::new("listen_tracepoint_enter", Target::Tracepoint("syscalls", "sys_enter_listen"))
        .entry(),
    ProgramSpec::new("listen_tracepoint", Target::RawTracepoint(STATE_CHANGE)),
];

const LISTEN_STATE_CHANGE: [ProgramSpec; 2] = [
    ProgramSpec::new("listen_tracepoint", Target::RawTracepoint(STATE_CHANGE))
        .when(When::SocketsReadable(true)),
    ProgramSpec::new("listen_tracepoint_fields", Target::Tracepoint("sock", STATE_CHANGE))
        .when(When::SocketsReadable(false)),
];

const CLOSE_FENTRY: [ProgramSpec; 1] =
    [ProgramSpec::new("close_fentry", Target::Fentry(RELEASE_FUNCTION))];

const CLOSE_KPROBE: [ProgramSpec; 1] =
    [ProgramSpec::new("close_kprobe", Target::Kprobe(RELEASE_FUNCTION))];

const CLOSE_CGROUP: [ProgramSpec; 1] = [ProgramSpec::new("close_cgroup", Target::CgroupRoot)];

const CLOSE_TRACEPOINT: [ProgramSpec; 2] = [
    ProgramSpec::new("close_tracepoint", Target::RawTracepoint(STATE_CHANGE))
        .when(When::SocketsReadable(true)),
    ProgramSpec::new("close_tracepoint_fields", Target::Tracepoint("sock", STATE_CHANGE))
        .when(When::SocketsReadable(false)),
];

const CONNECT_CGROUP: [ProgramSpec; 4] = [
    ProgramSpec::new("connect_cgroup4", Target::CgroupAddress),
    ProgramSpec::new("connect_cgroup6", Target::CgroupAddress),
    ProgramSpec::new("send_cgroup4", Target::CgroupAddress),
    ProgramSpec::new("send_cgroup6", Target::CgroupAddress),
];

const CONNECT_KPROBE: [ProgramSpec; 6] = [
    ProgramSpec::new("connect_kprobe", Target::Kprobe("tcp_v4_connect"))
        .pinned_as("connect_kprobe-tcp_v4_connect"),
    ProgramSpec::new("connect_kprobe", Target::Kprobe("tcp_v6_connect"))
        .pinned_as("connect_kprobe-tcp_v6_connect"),
    ProgramSpec::new("connect_kprobe", Target::Kprobe("ip4_datagram_connect"))
        .pinned_as("connect_kprobe-ip4_datagram_connect"),
    ProgramSpec::new("connect_kprobe", Target::Kprobe("ip6_datagram_connect"))
        .pinned_as("connect_kprobe-ip6_datagram_connect"),
    ProgramSpec::new("send_kprobe", Target::Kprobe("udp_sendmsg"))
        .pinned_as("send_kprobe-udp_sendmsg"),
    ProgramSpec::new("send_kprobe", Target::Kprobe("udpv6_sendmsg"))
        .pinned_as("send_kprobe-udpv6_sendmsg"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use HookMechanism::{Cgroup, CgroupSuccess, Fexit, Kprobe, Tcx, Tracepoint, XdpNative};

    const MODERN: Environment = Environment {
        has_bind_sk: true,
        listen_parameters: Some(1),
        sockets_are_readable: true,
        link: Link::Ethernet,
    };

    fn count(hook: Hook, mechanism: HookMechanism, environment: Environment) -> usize {
        of(hook, mechanism, environment).count()
    }

    #[test]
    fn functions_that_a_kernel_lacks_have_no_programs() {
        let older = Environment { has_bind_sk: false, ..MODERN };
        assert_eq!((count(Hook::Bind, Fexit, MODERN), count(Hook::Bind, Fexit, older)), (4, 2));
        assert_eq!((count(Hook::Bind, Kprobe, MODERN), count(Hook::Bind, Kprobe, older)), (8, 4));
        assert!(has_bind_sk(|_| true) && !has_bind_sk(|function| function != "inet6_bind_sk"));
    }

    #[test]
    fn a_listen_has_the_program_that_finds_its_result() {
        let names = |parameters| {
            let kernel = Environment { listen_parameters: parameters, ..MODERN };
            of(Hook::Listen, Fexit, kernel).map(|program| program.name).collect::<Vec<_>>()
        };
        assert_eq!(names(Some(1)), ["listen_fexit", "listen_states"]);
        assert_eq!(names(Some(2)), ["listen_fexit_backlog", "listen_states"]);
    }

    #[test]
    fn cgroup_and_tracepoint_share_their_programs() {
        let pins = |mechanism| of(Hook::Bind, mechanism, MODERN).map(|program| program.pin);
        let both: Vec<&str> = pins(Tracepoint).chain(pins(CgroupSuccess)).collect();
        assert_eq!(pins(Cgroup).collect::<Vec<_>>(), both);
    }

    #[test]
    fn a_hook_without_one_of_its_links_is_incomplete() {
        let is_complete = |pins: &[&str], hook, mechanism| {
            are_complete(pins.iter().copied(), hook, mechanism, MODERN)
        };
        assert!(is_complete(
            &[
                "bind_cgroup_post4",
                "bind_cgroup_post6",
                "bind_cgroup_request4",
                "bind_cgroup_request6"
            ],
            Hook::Bind,
            CgroupSuccess
        ));
        assert!(!is_complete(&["bind_cgroup_post4"], Hook::Bind, CgroupSuccess));
        assert!(!is_complete(&["close_cgroup"], Hook::Close, Kprobe));
        assert!(is_complete(&["xdp_ingress"], Hook::Ingress, XdpNative));
        assert!(is_complete(&["xdp_ingress_frags"], Hook::Ingress, XdpNative));
        assert!(!is_complete(&["tc_ingress_ip"], Hook::Ingress, Tcx));
    }

    #[test]
    fn entries_follow_their_returns() {
        for (hook, mechanism) in [
            (Hook::Bind, Kprobe),
            (Hook::Bind, Tracepoint),
            (Hook::Listen, Fexit),
            (Hook::Listen, Kprobe),
        ] {
            let programs = table(hook, mechanism);
            assert!(programs.is_sorted_by_key(|program| program.is_entry));
            assert!(programs.iter().any(|program| is_entry(program.pin)));
        }
    }

    #[test]
    fn traced_functions_are_those_of_trampolines() {
        let functions: Vec<&str> = traced_functions().collect();
        let expected = [
            "inet_bind",
            "inet6_bind",
            "inet_bind_sk",
            "inet6_bind_sk",
            "inet_release",
            LISTEN_FUNCTION,
        ];
        assert_eq!(functions, expected);
    }
}
