//! A program of another owner that passes the data of sockets on to another socket.

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _, OwnedFd},
};

use super::bpf::{Map, call, load, program_id};

const MAP_TYPE_SOCKMAP: u32 = 15;
const PROG_TYPE_SK_SKB: u32 = 14;
const SK_SKB_STREAM_VERDICT: u32 = 5;
const PROG_ATTACH: libc::c_long = 8;

/// Name of the program.
pub const NAME: &str = "foreign_skb";

/// A sockmap with a program, which sends what any socket in the map receives out through one of them.
pub struct Splice {
    map: Map,
    program: OwnedFd,
}

impl Splice {
    /// Makes a map without sockets. An error where the kernel has no such programs.
    pub fn new() -> io::Result<Self> {
        let map = Map::create(MAP_TYPE_SOCKMAP, 2)?;
        const SK_REDIRECT_MAP: i32 = 52;
        let redirect = [
            (0x18, 0x12, 0, map.operand()),   // r2 = map
            (0x00, 0x00, 0, 0),               // its upper half
            (0xb7, 0x03, 0, 1),               // r3 = 1, the socket that data goes to
            (0xb7, 0x04, 0, 0),               // r4 = 0, it goes out
            (0x85, 0x00, 0, SK_REDIRECT_MAP), // r0 = the verdict
            (0x95, 0x00, 0, 0),               // return
        ];
        let program = load(PROG_TYPE_SK_SKB, 0, NAME, &redirect)?;
        // `{ u32 target_fd; u32 attach_bpf_fd; u32 attach_type; u32 attach_flags; }`
        let (target, attached) = (map.operand() as u32, program.as_raw_fd() as u32);
        call(PROG_ATTACH, &mut [target, attached, SK_SKB_STREAM_VERDICT, 0])?;
        Ok(Self { map, program })
    }

    /// Puts a connection in, whose data is passed on.
    pub fn pass_on(&self, from: &impl AsFd) -> io::Result<()> {
        self.map.update(0, from.as_fd().as_raw_fd() as u64)
    }

    /// Puts the connection in that data is sent out through.
    pub fn send_through(&self, to: &impl AsFd) -> io::Result<()> {
        self.map.update(1, to.as_fd().as_raw_fd() as u64)
    }

    /// The program's id.
    pub fn program_id(&self) -> u32 {
        program_id(&self.program)
    }
}
