//! The way to a syslog server.

use std::{future::ready, io, os::fd::AsFd, path::Path, sync::Arc, time::Duration};

use hyper_rustls::ConfigBuilderExt as _;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket, UnixDatagram, UnixStream, lookup_host},
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, crypto::ring, pki_types::ServerName},
};

use super::message::counted;
use crate::config::{SyslogAddress, SyslogServer};

/// Time limit of a connection attempt.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// An open way to a server.
pub(super) enum Connection {
    Datagrams(UnixDatagram),
    Stream(UnixStream),
    Udp(UdpSocket),
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Servers are verified by the authorities that the host trusts.
pub(super) fn tls() -> io::Result<TlsConnector> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_native_roots()?
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

impl Connection {
    /// Opens the way to `address`; `tls` is there if it takes one.
    pub(super) async fn open(
        address: &SyslogAddress,
        tls: Option<&TlsConnector>,
    ) -> io::Result<Self> {
        let open = async {
            match (address, tls) {
                (SyslogAddress::Unix(path), _) => open_unix(path).await,
                (SyslogAddress::Udp(server), _) => open_udp(server).await.map(Self::Udp),
                (SyslogAddress::Tls(server), Some(tls)) => {
                    let name = ServerName::try_from(server.host.clone());
                    let name = name.map_err(io::Error::other)?;
                    let stream = tls.connect(name, open_tcp(server).await?).await?;
                    Ok(Self::Tls(Box::new(stream)))
                }
                (SyslogAddress::Tcp(server) | SyslogAddress::Tls(server), _) => {
                    open_tcp(server).await.map(Self::Tcp)
                }
            }
        };
        timeout(CONNECT_LIMIT, open).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Whether the other end has not closed it. A stream may be closed without an answer to what was
    /// sent last, so this is asked before the next message.
    pub(super) async fn is_open(&mut self) -> bool {
        match self {
            Self::Datagrams(_) | Self::Udp(_) => true,
            Self::Stream(stream) => has_no_end(stream),
            Self::Tcp(stream) => has_no_end(stream),
            Self::Tls(stream) => drain(stream).await && has_no_end(stream.get_ref().0),
        }
    }

    /// Sends a message, whole.
    pub(super) async fn send(&mut self, message: &str) -> io::Result<()> {
        match self {
            Self::Datagrams(socket) => socket.send(message.as_bytes()).await.map(drop),
            Self::Udp(socket) => match socket.send(message.as_bytes()).await {
                // An ICMP error about an earlier datagram, which is reported once.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    socket.send(message.as_bytes()).await.map(drop)
                }
                sent => sent.map(drop),
            },
            Self::Stream(stream) => stream.write_all(format!("{message}\n").as_bytes()).await,
            Self::Tcp(stream) => stream.write_all(counted(message).as_bytes()).await,
            Self::Tls(stream) => {
                stream.write_all(counted(message).as_bytes()).await?;
                stream.flush().await
            }
        }
    }

    /// Ends a stream, so that the other end knows that nothing is missing.
    pub(super) async fn close(mut self) {
        // An error means that the other end has closed it already.
        let _ = match &mut self {
            Self::Datagrams(_) | Self::Udp(_) => Ok(()),
            Self::Stream(stream) => stream.shutdown().await,
            Self::Tcp(stream) => stream.shutdown().await,
            Self::Tls(stream) => stream.shutdown().await,
        };
    }
}

/// Asks the kernel, because what the runtime knows of the stream may be older.
fn has_no_end(stream: &impl AsFd) -> bool {
    let mut polled = [PollFd::new(stream, PollFlags::RDHUP)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut polled, Some(&now)).is_ok() && polled[0].revents().is_empty()
}

/// Reads what is there without waiting, as the tickets of TLS 1.3: the end of a stream with something
/// unread is a reset, which may take what was sent with it. `false` if there is an end.
async fn drain(stream: &mut (impl AsyncRead + Unpin)) -> bool {
    let mut ignored = [0; 256];
    tokio::select! {
        biased;
        read = stream.read(&mut ignored) => matches!(read, Ok(1..)),
        () = ready(()) => true,
    }
}

/// A syslog daemon has a socket for datagrams, or for streams.
async fn open_unix(path: &Path) -> io::Result<Connection> {
    let socket = UnixDatagram::unbound()?;
    match socket.connect(path) {
        Err(error) if error.raw_os_error() == Some(Errno::PROTOTYPE.raw_os_error()) => {
            UnixStream::connect(path).await.map(Connection::Stream)
        }
        connected => connected.map(|()| Connection::Datagrams(socket)),
    }
}

async fn open_tcp(server: &SyslogServer) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((&*server.host, server.port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn open_udp(server: &SyslogServer) -> io::Result<UdpSocket> {
    let address = lookup_host((&*server.host, server.port)).await?.next();
    let address = address.ok_or(io::ErrorKind::NotFound)?;
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(address).await?;
    Ok(socket)
}
