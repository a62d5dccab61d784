//! Whether the client of a loopback connection is an administrator's: a process of root, or of the
//! agent's group, as over the Unix socket.

use std::{io, net::SocketAddr};

use rustix::process::getegid;
use tokio::{sync::Semaphore, task::spawn_blocking};

use crate::sockets::owner_of;

const ROOT: u32 = 0;

/// Searches at once: one for a group reads a file of every process.
static SEARCH: Semaphore = Semaphore::const_new(1);

/// Both ends of a TCP connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct TcpEnds {
    /// The server's.
    pub(super) here: SocketAddr,
    /// The client's.
    pub(super) there: SocketAddr,
}

/// Whether the process at the other end of a connection within this host may read details. No if it
/// has closed the connection, and where the kernel does not say who it is.
pub(super) async fn is_administrator(ends: Option<TcpEnds>) -> bool {
    let Some(ends) = ends else { return false };
    let Ok(_turn) = SEARCH.acquire().await else { return false };
    let found = spawn_blocking(move || look(ends)).await;
    found.map_err(io::Error::from).flatten().unwrap_or_else(|error| {
        tracing::error!(%error, "the user of a client is not known, so it reads no details");
        false
    })
}

fn look(ends: TcpEnds) -> io::Result<bool> {
    let Some(owner) = owner_of(ends.there, ends.here)? else { return Ok(false) };
    Ok(owner.user == ROOT || owner.is_in_group(getegid().as_raw())?)
}
