//! Reading the file, and applying what the command line overrides.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use super::{
    error::{ConfigError, OTHER_PORT},
    interfaces::InterfacePattern,
    keys::{KEYS, Key, Reading},
    model::Config,
    source::{read, text},
    value::section_of,
    yaml::{self, Node, Position, Problem},
};

/// Where the configuration is looked for when no file is named; it need not exist.
pub const DEFAULT_PATH: &str = "/etc/ghostport/ghostport.yaml";

/// What the command line says instead of the file; empty where it says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Replaces `web.listen`.
    pub web_listen: Vec<SocketAddr>,
    /// Replaces `web.config_file`.
    pub web_config_file: Option<PathBuf>,
    /// Replaces `interfaces.include` and empties `interfaces.exclude`.
    pub interfaces: Vec<InterfacePattern>,
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
    pub fn parse(path: &Path, bytes: Vec<u8>, overrides: &Overrides) -> Result<Self, ConfigError> {
        let config = text(bytes).and_then(|text| config(&text, overrides));
        config
            .map_err(|problem| ConfigError::invalid(path.to_owned(), problem))?
            .refuse_watching_itself()
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

/// The configuration that `text` and `overrides` describe together.
fn config(text: &str, overrides: &Overrides) -> Result<Config, Problem> {
    let root = yaml::parse(text)?;
    let mut reading = Reading::default();
    let mut names: Vec<&'static str> = KEYS.iter().map(Key::section).collect();
    names.dedup();
    for (name, node) in names.iter().zip(section_of(root, &names)?) {
        if let Some(node) = node {
            read_section(name, node, &mut reading)?;
        }
    }
    let Reading { mut config, port_positions } = reading;
    config.apply(overrides);
    refuse_watched_listener(&config, &port_positions)?;
    Ok(config)
}

/// Reads a mapping of keys, or the value of a key that has no section.
fn read_section(name: &str, node: Node<'_>, reading: &mut Reading) -> Result<(), Problem> {
    let keys: Vec<&Key> = KEYS.iter().filter(|key| key.section() == name).collect();
    if let [key] = keys.as_slice()
        && key.path == name
    {
        return key.read(reading, node);
    }
    let names: Vec<&'static str> = keys.iter().map(|key| key.name()).collect();
    for (key, value) in keys.into_iter().zip(section_of(node, &names)?) {
        if let Some(value) = value {
            key.read(reading, value)?;
        }
    }
    Ok(())
}

/// A watched port that is the agent's own would count every scrape.
fn refuse_watched_listener(
    config: &Config,
    port_positions: &HashMap<u16, Position>,
) -> Result<(), Problem> {
    let own = config.web_listen.iter().find_map(|address| {
        port_positions.get(&address.port()).map(|position| (address, *position))
    });
    own.map_or(Ok(()), |(address, position)| {
        let message = format!("the agent itself listens on {address}");
        Err(Problem::new(position, message, OTHER_PORT))
    })
}
