//! The two questions to `bpf(2)` that aya does not ask.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

/// `BPF_OBJ_GET` and `BPF_OBJ_GET_INFO_BY_FD`, `include/uapi/linux/bpf.h`.
const OBJ_GET: libc::c_long = 7;
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;

/// What the kernel says of a link, as far as it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkFacts {
    /// Id of the attached program.
    pub program: u32,
    /// Interface, for XDP and TCX links; 0 once it is gone.
    pub ifindex: u32,
}

/// The head of `union bpf_attr` for commands that name a path or a descriptor.
#[repr(C)]
struct Attributes {
    first: u64,
    second: u64,
    third: u64,
}

/// The head of `struct bpf_link_info`.
#[repr(C)]
#[derive(Default)]
struct LinkInfo {
    kind: u32,
    id: u32,
    program: u32,
    reserved: u32,
    /// `xdp.ifindex` or `tcx.ifindex`.
    ifindex: u32,
    rest: [u32; 15],
}

/// Asks a pinned link what it is.
pub fn link_facts(pin: &Path) -> io::Result<LinkFacts> {
    let link = open_pin(pin)?;
    let mut info = LinkInfo::default();
    let descriptor = u64::from(link.as_raw_fd() as u32);
    let len = size_of::<LinkInfo>() as u64;
    // `{ u32 bpf_fd; u32 info_len; u64 info; }`
    let (first, second) = if cfg!(target_endian = "little") {
        (descriptor | len << 32, &raw mut info as u64)
    } else {
        (descriptor << 32 | len, &raw mut info as u64)
    };
    bpf(OBJ_GET_INFO_BY_FD, &Attributes { first, second, third: 0 })?;
    Ok(LinkFacts { program: info.program, ifindex: info.ifindex })
}

fn open_pin(pin: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(pin.as_os_str().as_bytes())?;
    // `{ u64 pathname; u32 bpf_fd; u32 file_flags; }`
    let attributes = Attributes { first: path.as_ptr() as u64, second: 0, third: 0 };
    let descriptor = bpf(OBJ_GET, &attributes)?;
    // SAFETY: the kernel has just opened this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn bpf(command: libc::c_long, attributes: &Attributes) -> io::Result<i32> {
    // SAFETY: the attributes, and what they point to, outlive the call.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, &raw const *attributes, size_of::<Attributes>())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
}
