//! Listeners: the addresses of the configuration, and a Unix socket for the commands of this host.

use std::{
    fs::{self, Permissions},
    io,
    net::SocketAddr,
    os::{fd::AsRawFd as _, unix::fs::PermissionsExt as _},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FileType, Mode, OFlags, fstat, open},
    process::geteuid,
};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::guard::Endpoint;

/// Read and write for the user and the group of the agent.
const SOCKET_MODE: u32 = 0o660;

/// A socket that the server listens on.
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
    /// Over TCP.
    Tcp(TcpStream),
    /// Over the Unix socket.
    Unix(UnixStream),
}

/// The path of a Unix socket, which is removed on drop.
#[derive(Debug)]
pub struct SocketFile(PathBuf);

/// An address that the server cannot listen on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}; {}", remedy(source))]
pub struct BindError {
    address: SocketAddr,
    source: io::Error,
}

/// Listens on every address.
///
/// # Errors
/// An address cannot be bound.
pub async fn bind(addresses: &[SocketAddr]) -> Result<Vec<Listener>, BindError> {
    let mut listeners = Vec::with_capacity(addresses.len());
    for address in addresses {
        listeners.push(Listener::on_address(*address).await?);
    }
    Ok(listeners)
}

impl Listener {
    /// Listens on an address.
    ///
    /// # Errors
    /// The address cannot be bound; the message says what to do.
    pub async fn on_address(address: SocketAddr) -> Result<Self, BindError> {
        let listener = TcpListener::bind(address).await;
        listener.map(Self::Tcp).map_err(|source| BindError { address, source })
    }

    /// Listens on a Unix socket, in place of one that an earlier agent left. It appears under `path`
    /// when its permissions are set.
    ///
    /// # Errors
    /// The folder, the socket or its permissions cannot be made.
    pub fn on_socket(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            let is_new = !folder.exists();
            fs::create_dir_all(folder)?;
            if is_new {
                // It also has what every user may read. The socket has a mode of its own.
                fs::set_permissions(folder, Permissions::from_mode(0o755))?;
            }
        }
        let unnamed = path.with_extension("new");
        remove(&unnamed)?;
        let listener = UnixListener::bind(&unnamed)?;
        let file = SocketFile(path.to_owned());
        set_mode(&unnamed)?;
        fs::rename(&unnamed, path)?;
        Ok(Self::Unix(listener, file))
    }

    /// The same for the runtime of the calling thread.
    ///
    /// # Errors
    /// The runtime cannot register it.
    pub(super) fn moved_here(self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(listener) => Self::Tcp(TcpListener::from_std(listener.into_std()?)?),
            Self::Unix(listener, file) => {
                Self::Unix(UnixListener::from_std(listener.into_std()?)?, file)
            }
        })
    }

    /// What kind of clients reach it.
    pub fn endpoint(&self) -> Endpoint {
        match (self, self.address()) {
            (Self::Unix(..), _) => Endpoint::Unix,
            (_, Some(address)) if address.ip().is_loopback() => Endpoint::Loopback,
            _ => Endpoint::Network,
        }
    }

    /// The address, with the port that the kernel chose for port 0; `None` for the Unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Unix(..) => None,
            Self::Tcp(listener) => listener.local_addr().ok(),
        }
    }

    /// The next connection.
    ///
    /// # Errors
    /// `accept(2)` fails, for want of descriptors for instance.
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
            tracing::debug!(%error, path = %self.0.display(), "cannot remove the Unix socket");
        }
    }
}

/// Sets the permissions of our own socket, and of nothing that another user of the folder has put in its
/// place.
fn set_mode(path: &Path) -> io::Result<()> {
    let socket = open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let found = fstat(&socket)?;
    let is_socket = FileType::from_raw_mode(found.st_mode) == FileType::Socket;
    if !is_socket || found.st_uid != geteuid().as_raw() {
        return Err(io::Error::other("another program has replaced the socket"));
    }
    let itself = format!("/proc/self/fd/{}", socket.as_raw_fd());
    fs::set_permissions(itself, Permissions::from_mode(SOCKET_MODE))
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
