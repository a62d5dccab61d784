//! A program of another owner that gives the packets of one port to a socket that does not hold it.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd as _, OwnedFd},
};

use super::bpf::{Instruction, LINK_CREATE, Map, load, open, program_id};

const MAP_TYPE_SOCKMAP: u32 = 15;
const PROG_TYPE_SK_LOOKUP: u32 = 30;
const SK_LOOKUP: u32 = 36;

/// Name of the program.
pub const NAME: &str = "foreign_lookup";

/// The program while it is attached to the network namespace of the thread that made it.
pub struct ChosenSocket {
    program: OwnedFd,
    _link: OwnedFd,
}

impl ChosenSocket {
    /// Gives connections to `port` to `listener`. `None` where the kernel has no such programs, which
    /// came with Linux 5.9.
    pub fn attach(port: u16, listener: &impl AsFd) -> Option<Self> {
        let map = map_with(listener).ok()?;
        let program = load(PROG_TYPE_SK_LOOKUP, SK_LOOKUP, NAME, &program(port, &map)).ok()?;
        let netns = File::open("/proc/thread-self/ns/net").expect("a namespace");
        // `{ u32 prog_fd; u32 target_fd; u32 attach_type; u32 flags; }`
        let mut attributes = [program.as_raw_fd() as u32, netns.as_raw_fd() as u32, SK_LOOKUP, 0];
        let link = open(LINK_CREATE, &mut attributes).expect("attached");
        Some(Self { program, _link: link })
    }

    /// The program's id.
    pub fn id(&self) -> u32 {
        program_id(&self.program)
    }
}

/// A map with one socket.
fn map_with(socket: &impl AsFd) -> io::Result<Map> {
    let map = Map::create(MAP_TYPE_SOCKMAP, 1)?;
    map.update(0, socket.as_fd().as_raw_fd() as u64)?;
    Ok(map)
}

/// The program.
fn program(port: u16, map: &Map) -> [Instruction; 19] {
    /// Offset of `local_port` in `struct bpf_sk_lookup`.
    const LOCAL_PORT: i16 = 60;
    const MAP_LOOKUP_ELEM: i32 = 1;
    const SK_RELEASE: i32 = 86;
    const SK_ASSIGN: i32 = 124;
    [
        (0xbf, 0x16, 0, 0),               // r6 = r1
        (0x61, 0x12, LOCAL_PORT, 0),      // r2 = *(u32 *)(r1 + LOCAL_PORT)
        (0x55, 0x02, 14, port.into()),    // if r2 != port goto the end
        (0x62, 0x0a, -4, 0),              // *(u32 *)(r10 - 4) = 0
        (0xbf, 0xa2, 0, 0),               // r2 = r10
        (0x07, 0x02, 0, -4),              // r2 += -4
        (0x18, 0x11, 0, map.operand()),   // r1 = map
        (0x00, 0x00, 0, 0),               // its upper half
        (0x85, 0x00, 0, MAP_LOOKUP_ELEM), // r0 = the socket
        (0x15, 0x00, 7, 0),               // if r0 == 0 goto the end
        (0xbf, 0x07, 0, 0),               // r7 = r0
        (0xbf, 0x61, 0, 0),               // r1 = r6
        (0xbf, 0x72, 0, 0),               // r2 = r7
        (0xb7, 0x03, 0, 0),               // r3 = 0
        (0x85, 0x00, 0, SK_ASSIGN),       // choose it
        (0xbf, 0x71, 0, 0),               // r1 = r7
        (0x85, 0x00, 0, SK_RELEASE),      // give it back
        (0xb7, 0x00, 0, 1),               // r0 = SK_PASS
        (0x95, 0x00, 0, 0),               // return
    ]
}
