//! Programs of a few instructions, and the system call that loads them.

use std::{
    fs, io,
    os::fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd},
};

/// Commands, `include/uapi/linux/bpf.h`.
const MAP_CREATE: libc::c_long = 0;
const MAP_UPDATE_ELEM: libc::c_long = 2;
pub(crate) const LINK_CREATE: libc::c_long = 28;
const PROG_LOAD: libc::c_long = 5;

const MAP_TYPE_HASH: u32 = 1;

const PROG_TYPE_SOCKET_FILTER: u32 = 1;

/// `struct bpf_insn`: operation, registers (the source in the upper half), offset, operand.
pub(crate) type Instruction = (u8, u8, i16, i32);

/// Gives a socket an eBPF program as its filter, which accepts every packet.
pub fn attach_accepting_program(socket: &impl AsFd) {
    let accept = [(0xb7, 0x00, 0, -1), (0x95, 0x00, 0, 0)];
    let program = load(PROG_TYPE_SOCKET_FILTER, 0, "accepts_all", &accept).expect("a program");
    let descriptor = program.as_raw_fd();
    // SAFETY: the option is an integer that lives through the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_BPF,
            (&raw const descriptor).cast(),
            size_of::<i32>() as u32,
        )
    };
    assert_eq!(result, 0, "SO_ATTACH_BPF: {}", io::Error::last_os_error());
}

/// Loads a program.
pub(crate) fn load(
    kind: u32,
    expected_attach_type: u32,
    name: &str,
    instructions: &[Instruction],
) -> io::Result<OwnedFd> {
    let code: Vec<u8> = instructions
        .iter()
        .flat_map(|(code, registers, offset, operand)| {
            let [o0, o1] = offset.to_ne_bytes();
            let [k0, k1, k2, k3] = operand.to_ne_bytes();
            [*code, *registers, o0, o1, k0, k1, k2, k3]
        })
        .collect();
    #[repr(C)]
    struct Load {
        kind: u32,
        count: u32,
        instructions: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log: u64,
        kernel_version: u32,
        flags: u32,
        name: [u8; 16],
        ifindex: u32,
        expected_attach_type: u32,
    }
    let mut name_with_zeros = [0; 16];
    name_with_zeros[..name.len()].copy_from_slice(name.as_bytes());
    let mut attributes = Load {
        kind,
        count: instructions.len() as u32,
        instructions: code.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
        name: name_with_zeros,
        ifindex: 0,
        expected_attach_type,
    };
    open(PROG_LOAD, &mut attributes)
}

/// The id of a loaded program.
pub(crate) fn program_id(program: &OwnedFd) -> u32 {
    let path = format!("/proc/self/fdinfo/{}", program.as_raw_fd());
    let info = fs::read_to_string(path).expect("facts");
    let id = info.lines().find_map(|line| line.strip_prefix("prog_id:"));
    id.and_then(|id| id.trim().parse().ok()).expect("an id")
}

/// A map from a number to a word.
pub struct Map(OwnedFd);

impl Map {
    /// A hash map that programs of this process alone know.
    pub fn hash(entries: u32) -> io::Result<Self> {
        Self::create(MAP_TYPE_HASH, entries)
    }

    /// Creates a map of a type.
    pub(crate) fn create(kind: u32, entries: u32) -> io::Result<Self> {
        // `{ u32 map_type; u32 key_size; u32 value_size; u32 max_entries; }`
        open(MAP_CREATE, &mut [kind, 4, 8, entries]).map(Self)
    }

    /// Sets an entry.
    pub fn update(&self, key: u32, value: u64) -> io::Result<()> {
        #[repr(C)]
        struct Update {
            map: u32,
            padding: u32,
            key: u64,
            value: u64,
            flags: u64,
        }
        let mut update = Update {
            map: self.0.as_raw_fd() as u32,
            padding: 0,
            key: (&raw const key) as u64,
            value: (&raw const value) as u64,
            flags: 0,
        };
        call(MAP_UPDATE_ELEM, &mut update).map(drop)
    }

    /// The descriptor, as an instruction of a program names the map.
    pub(crate) fn operand(&self) -> i32 {
        self.0.as_raw_fd()
    }
}

/// A command that returns a descriptor.
pub(crate) fn open<T>(command: libc::c_long, attributes: &mut T) -> io::Result<OwnedFd> {
    let descriptor = call(command, attributes)?;
    // SAFETY: the kernel has just opened this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// `bpf(2)`; `attributes` is the head of `union bpf_attr`, as the command expects it.
pub(crate) fn call<T>(command: libc::c_long, attributes: &mut T) -> io::Result<i32> {
    // SAFETY: the attributes, and what they point to, outlive the call, and are not shared.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attributes, size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
}
