//! Addresses of syslog servers.

use std::{
    fmt,
    num::NonZeroU16,
    path::{Path, PathBuf},
    str::FromStr,
};

/// What a [`SyslogAddress`] may be.
pub(super) const EXPECTED: &str =
    "unix:/dev/log, or udp:, tcp: or tls: before HOST:PORT, as tcp:logs.example.org:601";

/// Where a syslog server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyslogAddress {
    /// A socket on this host, of datagrams or a stream.
    Unix(PathBuf),
    /// RFC 5426.
    Udp(Server),
    /// RFC 6587.
    Tcp(Server),
    /// RFC 5425.
    Tls(Server),
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// A name or an address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// Why a text is no [`SyslogAddress`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SyslogAddressError {
    /// It begins with none of the transports.
    #[error("the transport is none of unix, udp, tcp and tls")]
    Transport,
    /// The path of a socket is not absolute.
    #[error("the path of the socket is not absolute")]
    Path,
    /// The host is missing, or no name and no address.
    #[error(
        "the host is missing, or neither a name nor an address; an IPv6 address takes brackets"
    )]
    Host,
    /// The port is missing, or no port.
    #[error("the port is missing, or not a number from 1 to 65535")]
    Port,
}

impl FromStr for SyslogAddress {
    type Err = SyslogAddressError;

    fn from_str(text: &str) -> Result<Self, SyslogAddressError> {
        let (transport, rest) = text.split_once(':').ok_or(SyslogAddressError::Transport)?;
        match transport {
            "unix" if Path::new(rest).is_absolute() => Ok(Self::Unix(rest.into())),
            "unix" => Err(SyslogAddressError::Path),
            "udp" => rest.parse().map(Self::Udp),
            "tcp" => rest.parse().map(Self::Tcp),
            "tls" => rest.parse().map(Self::Tls),
            _ => Err(SyslogAddressError::Transport),
        }
    }
}

impl FromStr for Server {
    type Err = SyslogAddressError;

    fn from_str(text: &str) -> Result<Self, SyslogAddressError> {
        let (host, port) = text.rsplit_once(':').ok_or(SyslogAddressError::Port)?;
        let port = port.parse::<NonZeroU16>().map_err(|_| SyslogAddressError::Port)?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_name = |char: char| char.is_ascii_alphanumeric() || "-._".contains(char);
        let host = match bracketed {
            Some(address) if address.parse::<std::net::Ipv6Addr>().is_ok() => address,
            None if !host.is_empty() && host.chars().all(is_name) => host,
            _ => return Err(SyslogAddressError::Host),
        };
        Ok(Self { host: host.to_owned(), port: port.get() })
    }
}

impl fmt::Display for SyslogAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Udp(server) => write!(f, "udp:{server}"),
            Self::Tcp(server) => write!(f, "tcp:{server}"),
            Self::Tls(server) => write!(f, "tls:{server}"),
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for text in [
            "unix:/dev/log",
            "udp:127.0.0.1:514",
            "tcp:logs.example.org:601",
            "tls:[2001:db8::1]:6514",
        ] {
            let address = text.parse::<SyslogAddress>().expect(text);
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn refuses_what_is_no_address() {
        use SyslogAddressError::{Host, Path, Port, Transport};
        for (text, error) in [
            ("", Transport),
            ("/dev/log", Transport),
            ("http://a:1", Transport),
            ("unix:dev/log", Path),
            ("udp:localhost", Port),
            ("udp:localhost:0", Port),
            ("tcp:localhost:65536", Port),
            ("tcp::514", Host),
            ("tcp:::1:514", Host),
            ("tcp:[x]:514", Host),
            ("tls:a b:514", Host),
            ("tls:user@host:514", Host),
        ] {
            assert_eq!(text.parse::<SyslogAddress>(), Err(error), "{text}");
        }
    }
}
