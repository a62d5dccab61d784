//! The owner of one end of a connection within this host.

use std::{
    io,
    net::SocketAddr,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use super::{
    descriptors, diag,
    namespaces::HERE,
    numbered, proc_net,
    socket::{Entry, TcpState},
};
use crate::process::proc_dir::ProcessDir;

/// The owner of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketOwner {
    /// The user id that created the socket, or was given it by `fchown(2)`.
    pub user: u32,
    /// Inode of the socket.
    inode: u32,
}

/// The owner of the connected TCP socket with these ends in the calling thread's network namespace.
/// `None` if there is no such socket, or none with a file: of a connection that its process has closed
/// the kernel reports user 0 (`sk_user_ns`, `inet_twsk_diag_fill` in `net/ipv4/inet_diag.c`).
///
/// # Errors
/// Neither `sock_diag(7)` nor `/proc` has the list.
pub fn owner_of(local: SocketAddr, peer: SocketAddr) -> io::Result<Option<SocketOwner>> {
    // A kernel without `tcp_diag` answers as if there were no such socket.
    static DIAG_WORKS: AtomicBool = AtomicBool::new(false);
    let found = match diag::find_tcp(local, peer) {
        Ok(Some(found)) => {
            DIAG_WORKS.store(true, Ordering::Relaxed);
            Some(found)
        }
        Ok(None) if DIAG_WORKS.load(Ordering::Relaxed) => None,
        Ok(None) | Err(_) => proc_net::find_tcp(Path::new(HERE), local, peer)?,
    };
    let found = found.filter(|(entry, _)| entry.joins(local, peer) && is_open(entry));
    Ok(found.map(|(Entry { inode, .. }, user)| SocketOwner { user, inode }))
}

/// Whether a process has the connection open.
fn is_open(entry: &Entry) -> bool {
    let is_connected = matches!(
        entry.tcp_state,
        Some(TcpState::Established | TcpState::FinWait1 | TcpState::FinWait2 | TcpState::CloseWait)
    );
    entry.inode != 0 && is_connected
}

impl SocketOwner {
    /// Whether a process with this group, effective or supplementary, has the socket open.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub fn is_in_group(&self, group: u32) -> io::Result<bool> {
        let proc = numbered::proc()?;
        let mut found = false;
        numbered::each(&proc, |name| {
            let Some(pid) = numbered::number(name).filter(|_| !found) else { return };
            // One that has ended holds nothing.
            let groups = ProcessDir::open(pid).and_then(|process| process.groups());
            found = groups.is_ok_and(|groups| groups.contains(&group))
                && descriptors::holds(&proc, pid, self.inode);
        })?;
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use rustix::process::{getegid, geteuid};

    use super::*;

    #[test]
    fn finds_the_user_and_the_group_of_a_client() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let server = TcpListener::bind(address).expect("bound");
            let server = server.local_addr().map(|end| (server, end)).expect("an address");
            let client = TcpStream::connect(server.1).expect("connected");
            let end = client.local_addr().expect("an address");
            let owner = owner_of(end, server.1).expect("a list").expect("an owner");
            assert_eq!(owner.user, geteuid().as_raw());
            let listed = proc_net::find_tcp(Path::new(HERE), end, server.1).expect("a list");
            assert_eq!(
                listed.map(|(entry, user)| (entry.inode, user)),
                Some((owner.inode, owner.user))
            );
            assert!(owner.is_in_group(getegid().as_raw()).expect("/proc"));
            assert!(!owner.is_in_group(4_000_000_000).expect("/proc"));
        }
    }

    #[test]
    fn a_closed_connection_has_no_owner() {
        let server = TcpListener::bind("127.0.0.1:0").expect("bound");
        let end = server.local_addr().expect("an address");
        let client = TcpStream::connect(end).expect("connected");
        let here = client.local_addr().expect("an address");
        let accepted = server.accept().expect("accepted");
        drop(client);
        // The peer keeps its end open: the kernel has a socket of no process.
        assert_eq!(owner_of(here, end).expect("a list"), None);
        drop(accepted);
        // A listener is not the owner of a connection that is not there.
        let other = SocketAddr::from(([127, 0, 0, 1], 1));
        assert_eq!(owner_of(end, other).expect("a list"), None);
    }
}
