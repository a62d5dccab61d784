//! Sockmaps: maps of sockets, whose programs pass data of one socket on to another.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
};

use aya_obj::generated::{bpf_attach_type, bpf_map_info, bpf_map_type};

use crate::{
    other_programs::{self, OtherProgram},
    sys,
};

/// Commands, `include/uapi/linux/bpf.h`.
const MAP_LOOKUP_ELEM: libc::c_long = 1;
const MAP_GET_NEXT_KEY: libc::c_long = 4;
const MAP_GET_NEXT_ID: libc::c_long = 12;
const MAP_GET_FD_BY_ID: libc::c_long = 14;

/// Entries that are read of one map at most.
const MAX_ENTRIES: usize = 1 << 20;

/// Places at which a program decides about the data of the sockets in a map.
const PLACES: [bpf_attach_type; 3] = [
    bpf_attach_type::BPF_SK_SKB_VERDICT,
    bpf_attach_type::BPF_SK_SKB_STREAM_VERDICT,
    bpf_attach_type::BPF_SK_MSG_VERDICT,
];

/// A sockmap with the programs that decide about the data of its sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketMap {
    /// Id.
    pub id: u32,
    /// The programs; at least one.
    pub programs: Vec<OtherProgram>,
    /// The kernel's cookies of its sockets (`SO_COOKIE`); empty if the map keeps no room for them.
    pub cookies: Vec<u64>,
}

/// The sockmaps that have such a program. A map that only a program reads which chooses sockets has
/// none. Takes CAP_SYS_ADMIN, and Linux 5.17.
///
/// # Errors
///
/// The kernel refuses to list maps.
pub fn with_programs() -> io::Result<Vec<SocketMap>> {
    let mut found = Vec::new();
    let mut last = 0;
    while let Some(id) = next_id(last)? {
        last = id;
        // Maps come and go meanwhile.
        found.extend(read(id).ok().flatten());
    }
    Ok(found)
}

/// `None` for a map of another type, and for one without programs.
fn read(id: u32) -> io::Result<Option<SocketMap>> {
    let map = sys::open_by(MAP_GET_FD_BY_ID, id)?;
    // SAFETY: all members are integers, for which zero is a value.
    let mut info: bpf_map_info = unsafe { std::mem::zeroed() };
    sys::ask(&map, &mut info)?;
    let types = [bpf_map_type::BPF_MAP_TYPE_SOCKMAP, bpf_map_type::BPF_MAP_TYPE_SOCKHASH];
    if !types.into_iter().any(|kind| kind as u32 == info.type_) {
        return Ok(None);
    }
    let mut programs = BTreeMap::new();
    for place in PLACES {
        // A kernel without the place has no program there.
        let ids = sys::attached_programs(map.as_fd(), place).unwrap_or_default();
        programs.extend(ids.into_iter().map(|id| (id, other_programs::by_id(id))));
    }
    if programs.is_empty() {
        return Ok(None);
    }
    let has_cookies = info.value_size as usize == size_of::<u64>();
    let cookies = if has_cookies { cookies(&map, info.key_size as usize) } else { Vec::new() };
    Ok(Some(SocketMap { id, programs: programs.into_values().collect(), cookies }))
}

/// What userspace reads of a map with values of eight bytes (`sock_map_lookup_sys` in
/// `net/core/sock_map.c`).
fn cookies(map: &OwnedFd, key_size: usize) -> Vec<u64> {
    let mut found = Vec::new();
    let mut key: Option<Vec<u8>> = None;
    for _ in 0..MAX_ENTRIES {
        let mut next = vec![0; key_size];
        let first = key.as_ref().map_or(0, |key| key.as_ptr() as u64);
        if command(MAP_GET_NEXT_KEY, map, first, next.as_mut_ptr() as u64).is_err() {
            break;
        }
        let mut cookie = 0u64;
        let value = &raw mut cookie as u64;
        // An array has keys without a socket.
        if command(MAP_LOOKUP_ELEM, map, next.as_ptr() as u64, value).is_ok() {
            found.push(cookie);
        }
        key = Some(next);
    }
    found
}

/// `{ u32 map_fd; u64 key; u64 value or next_key; u64 flags; }`
fn command(command: libc::c_long, map: &OwnedFd, key: u64, value: u64) -> io::Result<()> {
    let map = sys::pair(map.as_raw_fd() as u32, 0);
    sys::bpf(command, &mut [map, key, value, 0]).map(drop)
}

/// The id of the next map; `None` after the last.
fn next_id(last: u32) -> io::Result<Option<u32>> {
    // `{ u32 start_id; u32 next_id; u32 open_flags; }`
    let mut attributes = [last, 0, 0];
    match sys::bpf(MAP_GET_NEXT_ID, &mut attributes) {
        Ok(_) => Ok(Some(attributes[1])),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
