//! Messages to netlink, and the reading of its answers.

use std::io;

use bytemuck::{Pod, Zeroable};

/// Message types, `include/uapi/linux/netlink.h`.
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

/// `NLM_F_REQUEST | NLM_F_ROOT | NLM_F_MATCH`.
const DUMP: u16 = 0x301;

/// `struct nlmsghdr`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Header {
    pub(super) length: u32,
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
    pub(super) port: u32,
}

/// A request for a list, of the type `kind`: its fixed part, and attributes behind it.
pub fn request(kind: u16, fixed: &[u8], attributes: &[u8]) -> Vec<u8> {
    message(kind, DUMP, fixed, attributes)
}

/// A message with these flags: its fixed part, and attributes behind it.
pub(super) fn message(kind: u16, flags: u16, fixed: &[u8], attributes: &[u8]) -> Vec<u8> {
    let length = (size_of::<Header>() + fixed.len() + attributes.len()) as u32;
    let header = Header { length, kind, flags, sequence: 1, port: 0 };
    [bytemuck::bytes_of(&header), fixed, attributes].concat()
}

/// `struct nlattr` with its payload, without padding.
pub fn attribute(kind: u16, payload: &[u8]) -> Vec<u8> {
    let head = [4 + payload.len() as u16, kind];
    [bytemuck::bytes_of(&head), payload].concat()
}

/// Adds an attribute behind others.
pub(crate) fn append_attribute(attributes: &mut Vec<u8>, kind: u16, payload: &[u8]) {
    attributes.resize(attributes.len().next_multiple_of(4), 0);
    attributes.extend(attribute(kind, payload));
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    More,
    Done,
}

/// Reads the messages of a datagram that answer the request with this number.
pub(super) fn read(
    mut datagram: &[u8],
    sequence: u32,
    visit: &mut impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<Progress> {
    while !datagram.is_empty() {
        let (header, body, rest) = split(datagram)?;
        datagram = rest;
        if header.sequence != sequence {
            continue;
        }
        match header.kind {
            NLMSG_DONE => return Ok(Progress::Done),
            NLMSG_ERROR => {
                let errno: i32 = beginning(body).ok_or(io::ErrorKind::InvalidData)?;
                // 0 acknowledges the request.
                return match errno {
                    0 => Ok(Progress::Done),
                    _ => Err(io::Error::from_raw_os_error(errno.saturating_neg())),
                };
            }
            _ => visit(body)?,
        }
    }
    Ok(Progress::More)
}

/// The types of the messages of a datagram.
pub(crate) fn message_kinds(mut datagram: &[u8]) -> impl Iterator<Item = u16> {
    std::iter::from_fn(move || {
        let (header, _, rest) = split(datagram).ok()?;
        datagram = rest;
        Some(header.kind)
    })
}

/// The first message of a datagram, its body, and what follows it.
fn split(datagram: &[u8]) -> io::Result<(Header, &[u8], &[u8])> {
    let header: Header = beginning(datagram).ok_or(io::ErrorKind::InvalidData)?;
    let length = header.length as usize;
    let body = datagram.get(size_of::<Header>()..length).ok_or(io::ErrorKind::InvalidData)?;
    // Every message begins at a multiple of four.
    let rest = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    Ok((header, body, rest))
}

/// The value at the beginning of `bytes`; `None` if they are too few.
pub fn beginning<T: Pod>(bytes: &[u8]) -> Option<T> {
    bytes.get(..size_of::<T>()).map(bytemuck::pod_read_unaligned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(errno: i32, sequence: u32) -> Vec<u8> {
        let header = Header { length: 36, kind: NLMSG_ERROR, flags: 0, sequence, port: 0 };
        [bytemuck::bytes_of(&header), &errno.to_ne_bytes(), &[0; 16]].concat()
    }

    #[test]
    fn returns_the_errno_of_a_refusal() {
        let refusal = answer(-libc::ENOENT, 1);
        let error = read(&refusal, 1, &mut |_| panic!("no message"));
        assert_eq!(error.expect_err("an error").raw_os_error(), Some(libc::ENOENT));
        for length in 1..refusal.len() {
            assert!(read(&refusal[..length], 1, &mut |_| Ok(())).is_err(), "{length}");
        }
    }

    #[test]
    fn skips_the_answers_to_earlier_requests() {
        let late = [answer(-libc::ENOENT, 1), answer(0, 2)].concat();
        assert_eq!(read(&late, 2, &mut |_| Ok(())).expect("acknowledged"), Progress::Done);
        let late = answer(-libc::ENOENT, 1);
        assert_eq!(read(&late, 2, &mut |_| Ok(())).expect("nothing yet"), Progress::More);
    }

    #[test]
    fn aligns_attributes_to_four_bytes() {
        let mut attributes = Vec::new();
        append_attribute(&mut attributes, 1, b"bpf\0\0");
        append_attribute(&mut attributes, 2, &[7]);
        assert_eq!(attributes, [9, 0, 1, 0, b'b', b'p', b'f', 0, 0, 0, 0, 0, 5, 0, 2, 0, 7]);
    }
}
