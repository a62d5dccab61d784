//! Folders of `/proc` whose entries are numbers: processes, threads, descriptors.

use std::{
    ffi::CStr,
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, OwnedFd},
};

use rustix::fs::{CWD, Mode, OFlags, RawDir, SeekFrom, openat, seek};

/// Bytes of one call, some 300 entries.
const ROOM: usize = 8192;

/// Opens `/proc`.
pub(super) fn proc() -> io::Result<OwnedFd> {
    open(CWD, "/proc")
}

/// Opens a folder below another one.
pub(super) fn open(parent: impl AsFd, path: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(parent, path, flags, Mode::empty())?)
}

/// Calls `visit` with the name of every entry that is a number, from the first one on. An error
/// means that the folder was removed meanwhile.
pub(super) fn each(folder: &OwnedFd, mut visit: impl FnMut(&CStr)) -> io::Result<()> {
    seek(folder, SeekFrom::Start(0))?;
    let mut room = [MaybeUninit::uninit(); ROOM];
    let mut entries = RawDir::new(folder, &mut room);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_bytes().first().is_some_and(u8::is_ascii_digit) {
            visit(name);
        }
    }
    Ok(())
}

/// The number that is the name.
pub(super) fn number(name: &CStr) -> Option<u32> {
    name.to_str().ok()?.parse().ok()
}
