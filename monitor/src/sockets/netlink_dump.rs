//! A netlink request that dumps a list, and the messages of its answer.

use std::io;

use bytemuck::{Pod, Zeroable};
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};

/// The kernel fills up to 32 KiB at once.
const RECEIVE_BYTES: usize = 64 * 1024;

/// Message types, `linux/netlink.h`.
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

/// `NLM_F_REQUEST | NLM_F_ROOT | NLM_F_MATCH`.
const DUMP: u16 = 0x301;

/// `struct nlmsghdr`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Header {
    length: u32,
    kind: u16,
    flags: u16,
    sequence: u32,
    port: u32,
}

/// A request of the type `kind`: its fixed part, and attributes behind it.
pub(super) fn request(kind: u16, fixed: &[u8], attributes: &[u8]) -> Vec<u8> {
    let length = (size_of::<Header>() + fixed.len() + attributes.len()) as u32;
    let header = Header { length, kind, flags: DUMP, sequence: 1, port: 0 };
    [bytemuck::bytes_of(&header), fixed, attributes].concat()
}

/// `struct nlattr` with its payload, without padding.
pub(super) fn attribute(kind: u16, payload: &[u8]) -> Vec<u8> {
    let head = [4 + payload.len() as u16, kind];
    [bytemuck::bytes_of(&head), payload].concat()
}

/// Sends a request to the netlink family `family`, which is `NETLINK_ROUTE` for `None`, and calls
/// `visit` with the body of every message of the answer.
pub(super) fn dump(
    family: Option<Protocol>,
    request: &[u8],
    mut visit: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, family)?;
    send(&socket, request, SendFlags::empty())?;
    let mut room = vec![0; RECEIVE_BYTES];
    loop {
        let (_, length) = recv(&socket, room.as_mut_slice(), RecvFlags::TRUNC)?;
        let datagram = room.get(..length).ok_or(io::ErrorKind::InvalidData)?;
        if read(datagram, &mut visit)? == Progress::Done {
            return Ok(());
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    More,
    Done,
}

/// Reads the messages of a datagram.
fn read(
    mut datagram: &[u8],
    visit: &mut impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<Progress> {
    while !datagram.is_empty() {
        let header: Header = beginning(datagram).ok_or(io::ErrorKind::InvalidData)?;
        let length = header.length as usize;
        let body = datagram.get(size_of::<Header>()..length).ok_or(io::ErrorKind::InvalidData)?;
        match header.kind {
            NLMSG_DONE => return Ok(Progress::Done),
            NLMSG_ERROR => {
                let errno: i32 = beginning(body).ok_or(io::ErrorKind::InvalidData)?;
                return Err(io::Error::from_raw_os_error(errno.saturating_neg()));
            }
            _ => visit(body)?,
        }
        // Every message begins at a multiple of four.
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(Progress::More)
}

/// The value at the beginning of `bytes`; `None` if they are too few.
pub(super) fn beginning<T: Pod>(bytes: &[u8]) -> Option<T> {
    bytes.get(..size_of::<T>()).map(bytemuck::pod_read_unaligned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_the_errno_of_a_refusal() {
        let errno = -libc::ENOENT;
        let header = Header { length: 36, kind: NLMSG_ERROR, flags: 0, sequence: 1, port: 0 };
        let refusal = [bytemuck::bytes_of(&header), &errno.to_ne_bytes(), &[0; 16]].concat();
        let error = read(&refusal, &mut |_| panic!("no message"));
        assert_eq!(error.expect_err("an error").raw_os_error(), Some(libc::ENOENT));
        for length in 1..refusal.len() {
            assert!(read(&refusal[..length], &mut |_| Ok(())).is_err(), "{length}");
        }
    }
}
