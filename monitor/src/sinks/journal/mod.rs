//! Events as entries of the journal of this host, one journal field for each field of the event.
//!
//! systemd-journald receives datagrams on a named socket:
//! <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>.

mod entry;
#[cfg(test)]
mod tests;

use std::{
    fs::File,
    io::{self, IoSlice, Write as _},
    mem::MaybeUninit,
    os::{fd::AsFd as _, unix::net::UnixDatagram},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create},
    io::Errno,
    net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, sendmsg_addr},
};

use self::entry::entry;
use super::local::Local;
use crate::{event::EncodedEvent, formats::EventFormat};

/// The socket of journald.
const SOCKET: &str = "/run/systemd/journal/socket";

/// A sender to journald.
#[derive(Debug)]
pub(super) struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
    format: EventFormat,
}

impl Journal {
    pub(super) fn open(format: EventFormat) -> io::Result<Self> {
        Ok(Self { format, ..Self::at(SOCKET.into())? })
    }

    /// Does not connect: journald may restart at any time, so each event finds the socket again.
    fn at(path: PathBuf) -> io::Result<Self> {
        let format = EventFormat::default();
        Ok(Self { socket: UnixDatagram::unbound()?, path, format })
    }

    fn send(&self, entry: &[u8]) -> io::Result<()> {
        match self.socket.send_to(entry, &self.path) {
            Err(error) if is_too_large(&error) => send_as_file(&self.socket, &self.path, entry),
            sent => sent.map(drop),
        }
    }
}

impl Local for Journal {
    fn write(&mut self, encoded: &EncodedEvent) -> io::Result<()> {
        self.send(&entry(encoded, self.format))
    }
}

fn is_too_large(error: &io::Error) -> bool {
    let errno = error.raw_os_error();
    [Errno::MSGSIZE, Errno::NOBUFS].iter().any(|large| errno == Some(large.raw_os_error()))
}

/// Sends the descriptor of a sealed file in memory that holds the entry.
fn send_as_file(socket: &UnixDatagram, path: &Path, entry: &[u8]) -> io::Result<()> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut file = File::from(memfd_create(c"ghostport-event", flags)?);
    file.write_all(entry)?;
    fcntl_add_seals(
        &file,
        SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL,
    )?;
    let descriptors = [file.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    let nothing: [IoSlice<'_>; 0] = [];
    let address = SocketAddrUnix::new(path)?;
    sendmsg_addr(socket, &address, &nothing, &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}
