//! How packets to a port reach a program when no socket of this host holds the port.

/// What delivers packets of a port to something other than a socket that holds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Path {
    /// Destination NAT to another address or port.
    Dnat,
    /// Destination NAT to another port of this host.
    Redirect,
    /// The kernel's load balancer.
    Ipvs,
    /// A transparent proxy, whose socket accepts connections to foreign addresses or ports.
    Tproxy,
    /// A `sk_lookup` program, which chooses the socket.
    SkLookup,
    /// A program that moves data between sockets, or connects them elsewhere.
    Sockmap,
    /// An XDP program that takes packets before the stack.
    Xdp,
    /// A packet socket whose program answers by itself.
    PacketSocket,
    /// A raw socket whose program answers by itself.
    RawSocket,
    /// It could not be found out.
    #[default]
    Unknown,
}

/// Whether packets go a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Standing {
    /// It was there, and packets were answered on it; now nothing leads there.
    Over,
    /// It is configured. Whether packets were answered on it is not known.
    Configured,
    /// It is there, and packets were answered on it.
    InUse,
}

/// Where the packets of a port go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// How they get there.
    pub path: Path,
    /// Address and port, program or device; `None` if it is unknown.
    pub target: Option<String>,
}

impl Path {
    /// Every path.
    pub const ALL: [Self; 10] = [
        Self::Dnat,
        Self::Redirect,
        Self::Ipvs,
        Self::Tproxy,
        Self::SkLookup,
        Self::Sockmap,
        Self::Xdp,
        Self::PacketSocket,
        Self::RawSocket,
        Self::Unknown,
    ];

    /// Whether tables of the kernel have the way: rules, connections, services.
    pub const fn is_in_tables(self) -> bool {
        matches!(self, Self::Dnat | Self::Redirect | Self::Ipvs | Self::Tproxy)
    }

    /// Name in events and the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dnat => "dnat",
            Self::Redirect => "redirect",
            Self::Ipvs => "ipvs",
            Self::Tproxy => "tproxy",
            Self::SkLookup => "sk_lookup",
            Self::Sockmap => "sockmap",
            Self::Xdp => "xdp",
            Self::PacketSocket => "packet_socket",
            Self::RawSocket => "raw_socket",
            Self::Unknown => "unknown",
        }
    }
}
