//! What the configuration asks for: how packets are counted and how binds are traced.

/// How the ingress of an interface is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InterfaceMode {
    /// The best that works.
    Auto,
    /// XDP in the driver.
    XdpNative,
    /// XDP in the stack.
    XdpGeneric,
    /// TC: tcx or clsact.
    Tc,
}

/// How binds are traced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindMechanism {
    /// The best that works.
    Auto,
    /// BPF trampoline on return from the bind functions.
    Fexit,
    /// kprobe and kretprobe on the bind functions.
    Kprobe,
    /// Programs at the root of the unified cgroup hierarchy.
    Cgroup,
    /// Tracepoints of the system calls.
    Tracepoint,
}

impl InterfaceMode {
    /// Every mode.
    pub const ALL: [Self; 4] = [Self::Auto, Self::XdpNative, Self::XdpGeneric, Self::Tc];

    /// Name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::XdpNative => "xdp-native",
            Self::XdpGeneric => "xdp-generic",
            Self::Tc => "tc",
        }
    }
}

impl BindMechanism {
    /// Every mechanism.
    pub const ALL: [Self; 5] =
        [Self::Auto, Self::Fexit, Self::Kprobe, Self::Cgroup, Self::Tracepoint];

    /// Name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Fexit => "fexit",
            Self::Kprobe => "kprobe",
            Self::Cgroup => "cgroup",
            Self::Tracepoint => "tracepoint",
        }
    }
}
