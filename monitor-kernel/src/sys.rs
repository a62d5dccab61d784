//! Calls of `bpf(2)` that aya lacks, and one to the unified control group hierarchy that no safe
//! library has.

use std::{
    ffi::CString,
    fs, io,
    os::{
        fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use aya_obj::generated::{bpf_attach_type, bpf_link_type, bpf_prog_info};

/// Commands, `include/uapi/linux/bpf.h`.
const OBJ_PIN: libc::c_long = 6;
const OBJ_GET: libc::c_long = 7;
const PROG_GET_FD_BY_ID: libc::c_long = 13;
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const PROG_QUERY: libc::c_long = 16;
const LINK_CREATE: libc::c_long = 28;
const LINK_GET_FD_BY_ID: libc::c_long = 30;
const ENABLE_STATS: libc::c_long = 32;
const LINK_DETACH: libc::c_long = 34;

/// What the kernel says of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkFacts {
    /// Id of its program.
    pub program: u32,
    /// Interface, for XDP and TCX links.
    pub ifindex: Option<u32>,
    /// Whether the program is attached. Nothing can detach a program from a traced function or a
    /// tracepoint while its link exists.
    pub is_attached: bool,
}

impl From<LinkInfo> for LinkFacts {
    fn from(info: LinkInfo) -> Self {
        use bpf_link_type::{BPF_LINK_TYPE_CGROUP, BPF_LINK_TYPE_TCX, BPF_LINK_TYPE_XDP};
        let is = |kind: bpf_link_type| info.kind == kind as u32;
        let is_traffic = is(BPF_LINK_TYPE_XDP) || is(BPF_LINK_TYPE_TCX);
        let [ifindex, _] = info.target;
        // `bpf_xdp_link_fill_link_info`, `tcx_link_fill_info`, `bpf_cgroup_link_fill_link_info`.
        let is_attached = match info.target {
            [0, 0] => !is_traffic && !is(BPF_LINK_TYPE_CGROUP),
            _ => !is_traffic || ifindex != 0,
        };
        let ifindex = is_traffic.then_some(ifindex);
        Self { program: info.program, ifindex, is_attached }
    }
}

/// The head of `union bpf_attr` for commands that name a path or a descriptor.
#[repr(C)]
struct Attributes {
    first: u64,
    second: u64,
    third: u64,
}

/// The head of `union bpf_attr` for `BPF_LINK_CREATE`.
#[repr(C)]
struct LinkCreate {
    program: u32,
    target: u32,
    attach_type: u32,
    flags: u32,
    /// Order and revision, for TCX.
    rest: [u64; 2],
}

/// The head of `union bpf_attr` for `BPF_PROG_QUERY`.
#[repr(C)]
struct Query {
    target: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    ids: u64,
    /// Room for ids before the call, and how many there are afterwards.
    count: u32,
    reserved: u32,
}

/// Programs that are listed of one place at most; a cgroup takes 64 (`BPF_CGROUP_MAX_PROGS`).
const MAX_LISTED: usize = 64;

/// The head of `struct bpf_link_info`.
#[repr(C)]
#[derive(Default)]
struct LinkInfo {
    kind: u32,
    id: u32,
    program: u32,
    reserved: u32,
    /// `xdp.ifindex`, `tcx.ifindex`, or both halves of `cgroup.cgroup_id`; 0 for what is detached.
    target: [u32; 2],
    rest: [u32; 14],
}

/// The facts about a pinned link.
///
/// # Errors
///
/// `InvalidData` if the pin is of another object.
pub fn link_facts(pin: &Path) -> io::Result<LinkFacts> {
    facts_of(&open_pinned_link(pin)?)
}

/// Opens a pinned link.
///
/// # Errors
///
/// As [`link_facts`].
pub fn open_pinned_link(pin: &Path) -> io::Result<OwnedFd> {
    let object = open_pin(pin)?;
    let kind = fs::read_link(format!("/proc/self/fd/{}", object.as_raw_fd()))?;
    // `bpf_link_new_fd` and `bpf_link_prime` in `kernel/bpf/syscall.c` name it differently.
    let is_link = ["anon_inode:bpf-link", "anon_inode:bpf_link"].map(Path::new).contains(&&*kind);
    if is_link { Ok(object) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// The facts about an open link.
pub fn facts_of(link: &OwnedFd) -> io::Result<LinkFacts> {
    let mut info = LinkInfo::default();
    ask(link, &mut info)?;
    Ok(info.into())
}

/// Opens a link by its id. Takes CAP_SYS_ADMIN.
pub fn open_link(id: u32) -> io::Result<OwnedFd> {
    open_by(LINK_GET_FD_BY_ID, id)
}

/// Attaches a program to an interface. It stays attached as long as the link is open or pinned.
pub fn attach_to_interface(
    program: BorrowedFd<'_>,
    ifindex: u32,
    attach_type: bpf_attach_type,
    flags: u32,
) -> io::Result<OwnedFd> {
    let mut attributes = LinkCreate {
        program: program.as_raw_fd() as u32,
        target: ifindex,
        attach_type: attach_type as u32,
        flags,
        rest: [0; 2],
    };
    let descriptor = bpf(LINK_CREATE, &mut attributes)?;
    // SAFETY: the kernel has just opened this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Pins a link.
pub fn pin_link(link: &OwnedFd, pin: &Path) -> io::Result<()> {
    let path = CString::new(pin.as_os_str().as_bytes())?;
    // `{ u64 pathname; u32 bpf_fd; u32 file_flags; }`
    let second = pair(link.as_raw_fd() as u32, 0);
    bpf(OBJ_PIN, &mut Attributes { first: path.as_ptr() as u64, second, third: 0 }).map(drop)
}

/// Detaches the program behind a pinned link at once; otherwise the kernel detaches it after the pin
/// is removed (`bpf_free_inode` in `kernel/bpf/inode.c`). Links of tracing programs refuse.
pub fn detach_link(pin: &Path) -> io::Result<()> {
    detach(&open_pinned_link(pin)?)
}

/// [`detach_link`] of an open link.
pub fn detach(link: &OwnedFd) -> io::Result<()> {
    // `{ u32 link_fd; }`
    let first = pair(link.as_raw_fd() as u32, 0);
    bpf(LINK_DETACH, &mut Attributes { first, second: 0, third: 0 }).map(drop)
}

/// Opens a loaded program by its id.
pub fn open_program(id: u32) -> io::Result<OwnedFd> {
    open_by(PROG_GET_FD_BY_ID, id)
}

/// Runs a command whose one argument is a number, and which opens a descriptor.
pub(crate) fn open_by(command: libc::c_long, id: u32) -> io::Result<OwnedFd> {
    let descriptor = bpf(command, &mut Attributes { first: pair(id, 0), second: 0, third: 0 })?;
    // SAFETY: the kernel has just opened this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// How often the kernel skipped a program: because it was interrupted in the same program on the same
/// CPU, since Linux 5.12, or in a call that forbids kprobes and perf's tracepoints meanwhile
/// (`trace_call_bpf` in `kernel/trace/bpf_trace.c`), since Linux 6.7.
pub fn missed_runs(program: &OwnedFd) -> io::Result<u64> {
    Ok(program_info(program)?.recursion_misses)
}

/// Has the kernel count the runs of all programs, as long as the descriptor is open. Takes
/// CAP_SYS_ADMIN; since Linux 5.8.
pub fn enable_run_statistics() -> io::Result<OwnedFd> {
    // `{ u32 type; }`, `BPF_STATS_RUN_TIME`.
    open_by(ENABLE_STATS, 0)
}

/// How often a program ran while runs were counted.
pub fn run_count(program: &OwnedFd) -> io::Result<u64> {
    Ok(program_info(program)?.run_cnt)
}

/// Name of a program, which its owner has chosen; empty if it has none.
pub fn program_name(program: &OwnedFd) -> io::Result<String> {
    let info = program_info(program)?;
    let bytes = info.name.iter().map(|byte| byte.cast_unsigned());
    let name: Vec<u8> = bytes.take_while(|byte| *byte != 0).collect();
    Ok(String::from_utf8_lossy(&name).into_owned())
}

fn program_info(program: &OwnedFd) -> io::Result<bpf_prog_info> {
    // SAFETY: all members are integers, for which zero is a value.
    let mut info: bpf_prog_info = unsafe { std::mem::zeroed() };
    ask(program, &mut info)?;
    Ok(info)
}

/// Ids of the programs that are attached to a network namespace or control group.
///
/// Takes CAP_NET_ADMIN.
pub fn attached_programs(
    target: BorrowedFd<'_>,
    attach_type: bpf_attach_type,
) -> io::Result<Vec<u32>> {
    let mut ids = [0u32; MAX_LISTED];
    let mut query = Query {
        target: target.as_raw_fd() as u32,
        attach_type: attach_type as u32,
        query_flags: 0,
        attach_flags: 0,
        ids: ids.as_mut_ptr() as u64,
        count: MAX_LISTED as u32,
        reserved: 0,
    };
    bpf(PROG_QUERY, &mut query)?;
    Ok(ids.into_iter().take(query.count as usize).collect())
}

/// A file handle of kernfs (`FILEID_KERNFS` in `include/linux/exportfs.h`, since Linux 5.5).
#[repr(C)]
struct KernfsHandle {
    bytes: u32,
    kind: i32,
    id: u64,
}

/// Opens a control group's folder by its id, below the mounted hierarchy that `mount` lies in.
///
/// Takes CAP_DAC_READ_SEARCH; `ESTALE` means that no control group has the id. The
/// descriptor serves for its path alone.
pub fn open_by_id(mount: BorrowedFd<'_>, id: u64) -> io::Result<OwnedFd> {
    const FILEID_KERNFS: i32 = 0xfe;
    let mut handle = KernfsHandle { bytes: size_of::<u64>() as u32, kind: FILEID_KERNFS, id };
    let flags = libc::O_PATH | libc::O_CLOEXEC;
    // SAFETY: the handle is a `struct file_handle` with as many bytes behind it as it says, and
    // outlives the call.
    let descriptor =
        unsafe { libc::open_by_handle_at(mount.as_raw_fd(), (&raw mut handle).cast(), flags) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just opened this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Has the kernel fill in `info`, in which no pointer requests further data.
pub(crate) fn ask<T>(object: &OwnedFd, info: &mut T) -> io::Result<()> {
    // `{ u32 bpf_fd; u32 info_len; u64 info; }`
    let first = pair(object.as_raw_fd() as u32, size_of::<T>() as u32);
    let mut attributes = Attributes { first, second: &raw mut *info as u64, third: 0 };
    bpf(OBJ_GET_INFO_BY_FD, &mut attributes).map(drop)
}

/// Two members of 32 bits.
pub(crate) const fn pair(first: u32, second: u32) -> u64 {
    let (first, second) = (first as u64, second as u64);
    if cfg!(target_endian = "little") { first | second << 32 } else { first << 32 | second }
}

fn open_pin(pin: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(pin.as_os_str().as_bytes())?;
    // `{ u64 pathname; u32 bpf_fd; u32 file_flags; }`
    let mut attributes = Attributes { first: path.as_ptr() as u64, second: 0, third: 0 };
    let descriptor = bpf(OBJ_GET, &mut attributes)?;
    // SAFETY: the kernel has just opened this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// `attributes` is the head of `union bpf_attr`, as the command expects it.
pub(crate) fn bpf<T>(command: libc::c_long, attributes: &mut T) -> io::Result<i32> {
    // SAFETY: the attributes, and what they point to, outlive the call, and are not shared.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attributes, size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_without_its_target_is_detached() {
        let facts = |kind: bpf_link_type, target| {
            LinkFacts::from(LinkInfo { kind: kind as u32, target, ..LinkInfo::default() })
        };
        let xdp = |target| facts(bpf_link_type::BPF_LINK_TYPE_XDP, target);
        assert!(xdp([7, 0]).is_attached && xdp([7, 0]).ifindex == Some(7));
        assert!(!xdp([0, 0]).is_attached);
        // `tcx.attach_type` follows the index.
        let tcx = |target| facts(bpf_link_type::BPF_LINK_TYPE_TCX, target);
        assert!(tcx([7, 46]).is_attached && !tcx([0, 46]).is_attached);
        let cgroup = |target| facts(bpf_link_type::BPF_LINK_TYPE_CGROUP, target);
        assert!(cgroup([0, 1]).is_attached && !cgroup([0, 0]).is_attached);
        let tracing = facts(bpf_link_type::BPF_LINK_TYPE_TRACING, [0, 0]);
        assert!(tracing.is_attached && tracing.ifindex.is_none());
    }
}
