//! A netlink socket that answers one request after the other. It stays in the network namespace in
//! which it was opened.

use std::{io, os::fd::OwnedFd};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send,
        socket_with,
    },
};

use super::message::{Progress, message, read};

/// The kernel fills up to 32 KiB at once.
const RECEIVE_BYTES: usize = 64 * 1024;

/// `NLM_F_REQUEST | NLM_F_ACK`.
const ACKNOWLEDGED_REQUEST: u16 = 0x5;

/// Where the number of a request is in its header.
const SEQUENCE: std::ops::Range<usize> = 8..12;

/// Sends a request to the netlink family `family`, which is `NETLINK_ROUTE` for `None`, and calls
/// `visit` with the body of every message of the answer.
///
/// # Errors
/// The kernel grants no socket or refuses the request, or `visit` returns an error.
pub fn dump(
    family: Option<Protocol>,
    request: &[u8],
    visit: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    Socket::open(family)?.ask(request, visit)
}

/// Asks the netlink family `family` for one object by a request of the type `kind`. Returns the body of
/// the message that describes it.
///
/// # Errors
/// The kernel grants no socket or refuses the request; `NotFound` where there is no such object.
pub fn get(family: Option<Protocol>, kind: u16, fixed: &[u8]) -> io::Result<Vec<u8>> {
    Socket::open(family)?.get(kind, fixed, &[])
}

/// A netlink socket.
#[derive(Debug)]
pub(crate) struct Socket {
    descriptor: OwnedFd,
    sequence: u32,
}

impl Socket {
    /// Opens a socket of the netlink family `family`, which is `NETLINK_ROUTE` for `None`, in the
    /// network namespace of this thread.
    pub(crate) fn open(family: Option<Protocol>) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        let descriptor = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, family)?;
        Ok(Self { descriptor, sequence: 0 })
    }

    /// Sends a request, and calls `visit` with the body of every message of the answer.
    pub(crate) fn ask(
        &mut self,
        request: &[u8],
        mut visit: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut request = request.to_vec();
        if let Some(place) = request.get_mut(SEQUENCE) {
            place.copy_from_slice(&self.sequence.to_ne_bytes());
        }
        send(&self.descriptor, &request, SendFlags::empty())?;
        let mut room = vec![0; RECEIVE_BYTES];
        loop {
            let received = recv(&self.descriptor, room.as_mut_slice(), RecvFlags::TRUNC);
            let (_, length) = match received {
                Err(Errno::INTR) => continue,
                received => received?,
            };
            let datagram = room.get(..length).ok_or(io::ErrorKind::InvalidData)?;
            if read(datagram, self.sequence, &mut visit)? == Progress::Done {
                return Ok(());
            }
        }
    }

    /// Has the kernel do what a message of this type says, with these flags beside the usual ones.
    pub(crate) fn order(
        &mut self,
        kind: u16,
        flags: u16,
        fixed: &[u8],
        attributes: &[u8],
    ) -> io::Result<()> {
        self.ask(&message(kind, ACKNOWLEDGED_REQUEST | flags, fixed, attributes), |_| Ok(()))
    }

    /// Asks for one object. Returns the body of the message that describes it.
    pub(crate) fn get(
        &mut self,
        kind: u16,
        fixed: &[u8],
        attributes: &[u8],
    ) -> io::Result<Vec<u8>> {
        let mut found = None;
        self.ask(&message(kind, ACKNOWLEDGED_REQUEST, fixed, attributes), |body| {
            found = Some(body.to_vec());
            Ok(())
        })?;
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}
