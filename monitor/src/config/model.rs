//! What can be configured, and the defaults.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use monitor_kernel::mechanism::BindMechanism;

use super::{
    disk_reserve::DiskReserve,
    interfaces::Interfaces,
    listeners::ListenersConfig,
    port::WatchedPort,
    sink::{SinkConfig, SinkTarget},
};

/// The five legacy ports that are watched by default.
pub const DEFAULT_PORTS: [u16; 5] = [2923, 2948, 2949, 3716, 3717];

/// Where events and the ledger are kept by default.
const DEFAULT_STORE: &str = "/var/lib/ghostport/ghostport.db";

/// Everything that can be configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The watched ports in ascending order of their numbers, each once.
    pub ports: Vec<WatchedPort>,
    /// Which interfaces are counted, and how.
    pub interfaces: Interfaces,
    /// How binds are traced.
    pub bind_mechanism: BindMechanism,
    /// Whether first payloads are identified, and what is kept of them.
    pub payload: PayloadConfig,
    /// Whether events alike are summed up.
    pub identified: IdentifiedEvents,
    /// What events carry of the caller's command line.
    pub command_line: CommandLines,
    /// What is read of executables.
    pub evidence: EvidenceLimits,
    /// What is expected of the listeners of this host.
    pub listeners: ListenersConfig,
    /// Where history is kept, and how much of it.
    pub store: StoreConfig,
    /// Where `/metrics` is served.
    pub web_listen: Vec<SocketAddr>,
    /// The file with TLS and passwords of the server; `None` for neither.
    pub web_config_file: Option<PathBuf>,
    /// Which clients may read more than `/metrics`.
    pub web_details: WebDetails,
    /// Whether `/metrics` names the programs that hold ports.
    pub holder_info: bool,
    /// Where events are written.
    pub sinks: Vec<SinkConfig>,
}

/// What may be read of executables, to hash them and to find their packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvidenceLimits {
    /// Files of more bytes are not read; none are if it is `None`.
    pub max_size: Option<u64>,
    /// Bytes that are read in a minute, of executables and of databases.
    pub per_minute: u64,
}

/// Whether first payloads are identified, and what is kept of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayloadConfig {
    /// Whether the kernel side takes samples at all.
    pub capture: bool,
    /// What an event carries of a payload besides the verdict.
    pub keep: PayloadKeep,
    /// What an event says of a payload's text.
    pub details: PayloadDetails,
}

/// What is shown of a payload's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadDetails {
    /// Nothing but verdict, grade and reason.
    None,
    /// Names, versions and commands, without what may be secret.
    Names,
    /// All that is decoded.
    Full,
}

/// What is shown of command lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandLines {
    /// Nothing: they are not even read.
    Omitted,
    /// All but what looks like a secret.
    Masked,
    /// All.
    Full,
}

/// Which of the events that are alike are emitted as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentifiedEvents {
    /// The first; the others are summed up.
    First,
    /// All of them.
    Every,
}

/// What is kept of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadKeep {
    /// Nothing.
    None,
    /// A hash, which identifies equal payloads.
    Hash,
    /// The bytes, at most 256 of them.
    Bytes,
}

/// Where history is kept, and how much of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// Absolute path of the database.
    pub path: PathBuf,
    /// Events older than this are deleted.
    pub retain: Duration,
    /// How many days the history by day has, as a duration.
    pub history: Duration,
    /// Bytes that the database may take on disk; the oldest events are deleted first.
    pub max_size: u64,
    /// What is left of its disk.
    pub reserve: DiskReserve,
}

/// Which clients may read more than `/metrics` and the health pages over TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebDetails {
    /// Processes of root and of the agent's group on a loopback listener, and authenticated clients.
    Admins,
    /// Every client on a loopback listener, and authenticated ones.
    Loopback,
    /// Authenticated clients.
    Authenticated,
    /// None; only the Unix socket serves it.
    Never,
}

impl Config {
    /// The numbers of the watched ports, in ascending order.
    pub fn port_numbers(&self) -> impl ExactSizeIterator<Item = u16> {
        self.ports.iter().map(|port| port.number)
    }

    /// The watched port of this number.
    pub fn port(&self, number: u16) -> Option<&WatchedPort> {
        let index = self.ports.binary_search_by_key(&number, |port| port.number).ok()?;
        self.ports.get(index)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            ports: DEFAULT_PORTS.map(WatchedPort::new).to_vec(),
            interfaces: Interfaces::default(),
            bind_mechanism: BindMechanism::Auto,
            payload: PayloadConfig {
                capture: true,
                keep: PayloadKeep::Hash,
                details: PayloadDetails::Names,
            },
            identified: IdentifiedEvents::First,
            command_line: CommandLines::Masked,
            evidence: EvidenceLimits::default(),
            listeners: ListenersConfig::default(),
            store: StoreConfig::default(),
            web_listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 10948))],
            web_config_file: None,
            web_details: WebDetails::Admins,
            holder_info: false,
            sinks: vec![SinkConfig::new(SinkTarget::Stdout)],
        }
    }
}

impl Default for EvidenceLimits {
    fn default() -> Self {
        Self { max_size: Some(256 << 20), per_minute: 512 << 20 }
    }
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            path: PathBuf::from(DEFAULT_STORE),
            retain: Duration::from_secs(90 * 86_400),
            history: Duration::from_secs(5 * 365 * 86_400),
            max_size: 256 << 20,
            reserve: DiskReserve::Usual,
        }
    }
}

impl IdentifiedEvents {
    /// Both.
    pub const ALL: [Self; 2] = [Self::First, Self::Every];

    /// Name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Every => "every",
        }
    }
}

impl PayloadKeep {
    /// All of them, in the order in which they keep more.
    pub const ALL: [Self; 3] = [Self::None, Self::Hash, Self::Bytes];

    /// Name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Hash => "hash",
            Self::Bytes => "bytes",
        }
    }
}

impl PayloadDetails {
    pub(super) const ALL: [Self; 3] = [Self::None, Self::Names, Self::Full];

    /// Name in the configuration file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Names => "names",
            Self::Full => "full",
        }
    }
}

impl CommandLines {
    pub(super) const ALL: [Self; 3] = [Self::Masked, Self::Omitted, Self::Full];

    /// Value in the configuration file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Omitted => "false",
            Self::Masked => "true",
            Self::Full => "full",
        }
    }

    /// Whether they are read at all.
    pub const fn are_read(self) -> bool {
        !matches!(self, Self::Omitted)
    }
}

impl WebDetails {
    /// Every choice.
    pub const ALL: [Self; 4] = [Self::Admins, Self::Loopback, Self::Authenticated, Self::Never];

    /// Name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admins => "admins",
            Self::Loopback => "loopback",
            Self::Authenticated => "authenticated",
            Self::Never => "never",
        }
    }
}
