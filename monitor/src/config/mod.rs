//! The configuration: a YAML file, the defaults of the keys it leaves out, and what the command
//! line overrides.
//!
//! An error names file, line and column, and what was expected there. A key that is not known is an
//! error: a misspelt key must not silently leave a port unwatched.

mod error;
mod expect;
pub mod listen;
mod parse;
mod pattern;
mod port;
pub mod quantity;
mod show;
mod sink;
#[cfg(test)]
mod tests;
mod url;
mod value;
mod web_file;
mod yaml;

use std::{
    fs::File,
    io::{self, Read},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use monitor_kernel::mechanism::{BindMechanism, InterfaceMode};

pub use self::{
    error::ConfigError,
    expect::{ContainerMatch, Expectation, Owner, UnitMatch, UserMatch, is_expected},
    pattern::{Pattern, PatternError},
    port::{DEFAULT_DORMANT_AFTER, WatchedPort},
    sink::SinkConfig,
    url::{HttpUrl, UrlError},
    web_file::{ClientAuth, Pem, TlsSettings, TlsVersion, WebFile},
    yaml::Position,
};

/// Where the configuration is looked for when no file is named; it need not exist.
pub const DEFAULT_PATH: &str = "/etc/ghostport/ghostport.yaml";

/// The five legacy ports that are watched by default.
pub const DEFAULT_PORTS: [u16; 5] = [2923, 2948, 2949, 3716, 3717];

/// Where events and the ledger are kept by default.
const DEFAULT_STORE: &str = "/var/lib/ghostport/ghostport.db";

/// Enough for every port as a mapping with every key, and a bound for what is not meant.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// Everything that can be configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The watched ports in ascending order of their numbers, each once.
    pub ports: Vec<WatchedPort>,
    /// Which interfaces are counted, and how.
    pub interfaces: Interfaces,
    /// How binds are traced.
    pub bind_mechanism: BindMechanism,
    /// Whether first payloads are looked at, and what is kept of them.
    pub payload: PayloadConfig,
    /// Whether events tell the command line of the caller.
    pub command_line: bool,
    /// Where history is kept, and how much of it.
    pub store: StoreConfig,
    /// Where `/metrics` is served.
    pub web_listen: Vec<SocketAddr>,
    /// The file with TLS and passwords of the server; `None` for neither.
    pub web_config_file: Option<PathBuf>,
    /// Who may read more than `/metrics`.
    pub web_details: WebDetails,
    /// Where events are written.
    pub sinks: Vec<SinkConfig>,
}

/// Which interfaces are counted, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interfaces {
    /// An interface is counted if one of these matches its name.
    pub include: Vec<Pattern>,
    /// And none of these does.
    pub exclude: Vec<Pattern>,
    /// How ingress is attached.
    pub mode: InterfaceMode,
}

/// Whether first payloads are looked at, and what is kept of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayloadConfig {
    /// Whether the kernel side takes samples at all.
    pub capture: bool,
    /// What events have of a payload beside the verdict.
    pub keep: PayloadKeep,
}

/// What is kept of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadKeep {
    /// Nothing.
    None,
    /// A hash, by which equal payloads are known.
    Hash,
    /// The bytes, at most 256 of them.
    Bytes,
}

/// Where history is kept, and how much of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// Absolute path of the database.
    pub path: PathBuf,
    /// Events older than this are forgotten.
    pub retain: Duration,
    /// Bytes that the database may take on disk; the oldest events are forgotten to keep it.
    pub max_size: u64,
}

/// Who may read more than `/metrics` and the health pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebDetails {
    /// Whoever asks over loopback, and whoever is authenticated.
    Loopback,
    /// Whoever is authenticated.
    Authenticated,
    /// Nobody; the Unix socket alone serves it.
    Never,
}

/// What the command line says instead of the file; empty where it says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Replaces `web.listen`.
    pub web_listen: Vec<SocketAddr>,
    /// Replaces `web.config_file`.
    pub web_config_file: Option<PathBuf>,
    /// Replaces `interfaces.include` and empties `interfaces.exclude`.
    pub interfaces: Vec<Pattern>,
}

impl Config {
    /// Reads `path`, or [`DEFAULT_PATH`] if it exists, and applies `overrides`.
    pub fn load(path: Option<&Path>, overrides: &Overrides) -> Result<Self, ConfigError> {
        let file = path.unwrap_or(Path::new(DEFAULT_PATH));
        match read(file) {
            Ok(bytes) => Self::parse(file, bytes, overrides),
            Err(ConfigError::Unreadable { source, .. })
                if path.is_none() && source.kind() == io::ErrorKind::NotFound =>
            {
                Self::default().overridden(overrides)
            }
            Err(error) => Err(error),
        }
    }

    /// The configuration in `bytes`, which were read from `path`.
    fn parse(path: &Path, bytes: Vec<u8>, overrides: &Overrides) -> Result<Self, ConfigError> {
        let config = text(bytes).and_then(|text| parse::config(&text, overrides));
        config
            .map_err(|problem| ConfigError::invalid(path.to_owned(), problem))?
            .refuse_watching_itself()
    }

    /// The numbers of the watched ports, in ascending order.
    pub fn port_numbers(&self) -> impl ExactSizeIterator<Item = u16> {
        self.ports.iter().map(|port| port.number)
    }

    /// The watched port of this number.
    pub fn port(&self, number: u16) -> Option<&WatchedPort> {
        let index = self.ports.binary_search_by_key(&number, |port| port.number).ok()?;
        self.ports.get(index)
    }

    fn overridden(mut self, overrides: &Overrides) -> Result<Self, ConfigError> {
        self.apply(overrides);
        self.refuse_watching_itself()
    }

    fn apply(&mut self, overrides: &Overrides) {
        if !overrides.web_listen.is_empty() {
            self.web_listen.clone_from(&overrides.web_listen);
        }
        if let Some(file) = &overrides.web_config_file {
            self.web_config_file = Some(file.clone());
        }
        if !overrides.interfaces.is_empty() {
            self.interfaces.include.clone_from(&overrides.interfaces);
            self.interfaces.exclude.clear();
        }
    }

    fn refuse_watching_itself(self) -> Result<Self, ConfigError> {
        let watched = |address: &&SocketAddr| self.port(address.port()).is_some();
        match self.web_listen.iter().find(watched) {
            None => Ok(self),
            Some(address) => Err(ConfigError::WatchesItself { address: *address }),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            ports: DEFAULT_PORTS.map(WatchedPort::new).to_vec(),
            interfaces: Interfaces::default(),
            bind_mechanism: BindMechanism::Auto,
            payload: PayloadConfig { capture: true, keep: PayloadKeep::Hash },
            command_line: true,
            store: StoreConfig::default(),
            web_listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 10948))],
            web_config_file: None,
            web_details: WebDetails::Loopback,
            sinks: vec![SinkConfig::Stdout],
        }
    }
}

impl Interfaces {
    /// Whether the interface called `name` is counted.
    pub fn counts(&self, name: &str) -> bool {
        let matches = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(name));
        matches(&self.include) && !matches(&self.exclude)
    }

    /// The patterns of `include` that match none of `names`.
    pub fn unmatched<'a>(&'a self, names: &'a [String]) -> impl Iterator<Item = &'a Pattern> {
        self.include.iter().filter(|pattern| !names.iter().any(|name| pattern.matches(name)))
    }
}

impl Default for Interfaces {
    fn default() -> Self {
        let patterns = |globs: &[&str]| globs.iter().filter_map(|glob| glob.parse().ok()).collect();
        Self {
            include: patterns(&["*"]),
            exclude: patterns(&["veth*", "docker*", "br-*", "cali*", "lxc*", "virbr*"]),
            mode: InterfaceMode::Auto,
        }
    }
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            path: PathBuf::from(DEFAULT_STORE),
            retain: Duration::from_secs(90 * 86_400),
            max_size: 256 << 20,
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

impl WebDetails {
    /// Every choice.
    pub const ALL: [Self; 3] = [Self::Loopback, Self::Authenticated, Self::Never];

    /// Name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Authenticated => "authenticated",
            Self::Never => "never",
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(ConfigError::TooLarge { path: path.to_owned(), limit: MAX_FILE_BYTES });
    }
    Ok(bytes)
}

fn text(bytes: Vec<u8>) -> Result<String, yaml::Problem> {
    String::from_utf8(bytes).map_err(|error| {
        let valid = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]);
        let last_line = valid.rsplit('\n').next().unwrap_or_default();
        let position = Position {
            line: valid.matches('\n').count() as u32 + 1,
            column: last_line.chars().count() as u32 + 1,
        };
        yaml::Problem::new(position, "a byte that is not UTF-8", "text in UTF-8")
    })
}
