//! Events as messages to a syslog server (RFC 5424), over a socket of this host, UDP (RFC 5426), TCP
//! (RFC 6587) or TLS (RFC 5425).
//!
//! Syslog has no receipts: what a server has taken off the network and not written is lost unseen. A
//! stream that the server has closed is opened again before the next message.

mod connection;
mod message;
#[cfg(test)]
mod tests;

use std::{fmt, io, time::Duration};

use rustix::io::Errno;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use self::{
    connection::{Connection, tls},
    message::{message, next_sequence},
};
use super::{
    pace::Pace,
    queue::{Queue, Work},
    retry::{Refusal, until_accepted},
};
use crate::config::SyslogAddress;

/// Time limit of one message, beside that of opening a connection.
const SEND_LIMIT: Duration = Duration::from_secs(10);

/// A sender to a syslog server.
pub(super) struct Syslog {
    address: SyslogAddress,
    tls: Option<TlsConnector>,
    connection: Option<Connection>,
}

impl Syslog {
    /// Reads the authorities that the host trusts, if it takes them.
    pub(super) fn open(address: &SyslogAddress) -> io::Result<Self> {
        let tls = matches!(address, SyslogAddress::Tls(_)).then(tls).transpose()?;
        Ok(Self { address: address.clone(), tls, connection: None })
    }

    /// Sends the events of `queue` until it is closed, so many in a second.
    pub(super) async fn work(mut self, queue: &Queue, mut pace: Pace) {
        let process_id = std::process::id();
        let mut sequence = 1;
        loop {
            match pace.next(queue, 1).await {
                Work::Reopen => self.connection = None,
                Work::End => break,
                Work::Events(events) => {
                    pace.pass(events.len());
                    for encoded in events {
                        let message = message(&encoded, process_id, sequence);
                        sequence = next_sequence(sequence);
                        match until_accepted(queue, async || self.send(&message).await).await {
                            Ok(()) => queue.delivered(1),
                            Err(why) => queue.lost(1, why),
                        }
                    }
                }
            }
        }
        if let Some(connection) = self.connection {
            connection.close().await;
        }
    }

    async fn send(&mut self, message: &str) -> Result<(), Refusal> {
        let sent = timeout(SEND_LIMIT, self.try_send(message)).await;
        sent.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(|error| Refusal {
            // A longer datagram than the other end takes.
            is_final: error.raw_os_error() == Some(Errno::MSGSIZE.raw_os_error()),
            why: error.to_string(),
            pause: None,
        })
    }

    /// Sends a message; after an error the connection is opened again for the next attempt.
    async fn try_send(&mut self, message: &str) -> io::Result<()> {
        let open = match self.connection.take() {
            Some(mut connection) => connection.is_open().await.then_some(connection),
            None => None,
        };
        let mut connection = match open {
            Some(connection) => connection,
            None => Connection::open(&self.address, self.tls.as_ref()).await?,
        };
        connection.send(message).await?;
        self.connection = Some(connection);
        Ok(())
    }
}

impl fmt::Debug for Syslog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Syslog").field("address", &self.address).finish_non_exhaustive()
    }
}
