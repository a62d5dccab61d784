//! Why a configuration cannot be used.

use std::{io, net::SocketAddr, path::PathBuf};

use super::yaml::{Position, Problem};

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: cannot be read: {source}; expected a YAML file", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is larger than any configuration.
    #[error("{}: larger than {limit} bytes; expected a YAML file of at most that size", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most that is read.
        limit: u64,
    },
    /// A place in the file is wrong.
    #[error("{}:{position}: {message}; expected {expected}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Where in the file.
        position: Position,
        /// What is there.
        message: String,
        /// What may be there.
        expected: String,
    },
    /// The agent would watch itself, and the port or the address is not from a file.
    #[error("port {} is watched and the agent itself listens on {address}; expected {}", address.port(), OTHER_PORT)]
    WatchesItself {
        /// The agent's own address.
        address: SocketAddr,
    },
}

pub(super) const OTHER_PORT: &str = "the agent to listen on a port that is not watched: \
     web.listen or --web.listen-address";

impl ConfigError {
    pub(super) fn invalid(path: PathBuf, problem: Problem) -> Self {
        let Problem { position, message, expected } = problem;
        Self::Invalid { path, position, message, expected }
    }
}
