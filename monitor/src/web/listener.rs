//! Where the server listens: the addresses of the configuration, and a Unix socket for the commands
//! of this host.

use std::{
    fs::{self, Permissions},
    io,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::guard::Endpoint;

/// The user and the group of the agent.
const SOCKET_MODE: u32 = 0o660;

/// A place where the server listens.
#[derive(Debug)]
pub enum Listener {
    /// An address of `web.listen`.
    Tcp(TcpListener),
    /// The Unix socket.
    Unix(UnixListener, SocketFile),
}

/// A connection.
#[derive(Debug)]
pub enum Stream {
    /// From a host.
    Tcp(TcpStream),
    /// From this host.
    Unix(UnixStream),
}

/// The name of a socket in the filesystem, which goes with it.
#[derive(Debug)]
pub struct SocketFile(PathBuf);

/// An address that cannot be served on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}; {}", remedy(source))]
pub struct BindError {
    address: SocketAddr,
    source: io::Error,
}

impl Listener {
    /// Listens on an address.
    pub async fn on_address(address: SocketAddr) -> Result<Self, BindError> {
        let listener = TcpListener::bind(address).await;
        listener.map(Self::Tcp).map_err(|source| BindError { address, source })
    }

    /// Listens on a Unix socket, in the place of one that an earlier agent left. It gets its name
    /// when it has its permissions.
    pub fn on_socket(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let unnamed = path.with_extension("new");
        remove(&unnamed)?;
        let listener = UnixListener::bind(&unnamed)?;
        let file = SocketFile(path.to_owned());
        fs::set_permissions(&unnamed, Permissions::from_mode(SOCKET_MODE))?;
        fs::rename(&unnamed, path)?;
        Ok(Self::Unix(listener, file))
    }

    /// What may be told to those who come in here.
    pub fn endpoint(&self) -> Endpoint {
        match (self, self.address()) {
            (Self::Unix(..), _) => Endpoint::Unix,
            (_, Some(address)) if address.ip().is_loopback() => Endpoint::Loopback,
            _ => Endpoint::Network,
        }
    }

    /// The address, with the port that the kernel has chosen where 0 was asked for.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Unix(..) => None,
            Self::Tcp(listener) => listener.local_addr().ok(),
        }
    }

    /// The next connection.
    pub async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener) => Ok(Stream::Tcp(listener.accept().await?.0)),
            Self::Unix(listener, _) => Ok(Stream::Unix(listener.accept().await?.0)),
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.0) {
            tracing::debug!(%error, path = %self.0.display(), "the socket stays");
        }
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "stop the program that holds the port, or choose another with web.listen or \
             --web.listen-address"
        }
        io::ErrorKind::AddrNotAvailable => {
            "choose an address of this host with web.listen or --web.listen-address"
        }
        io::ErrorKind::PermissionDenied => {
            "choose a port above 1023 with web.listen or --web.listen-address, or grant \
             CAP_NET_BIND_SERVICE"
        }
        _ => "choose another with web.listen or --web.listen-address",
    }
}
