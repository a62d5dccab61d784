//! The lists. A system call that none of the agent's work needs is not in them, whatever it does.

use libc::{
    SYS_accept4, SYS_bind, SYS_bpf, SYS_brk, SYS_capget, SYS_capset, SYS_clock_getres,
    SYS_clock_gettime, SYS_clock_nanosleep, SYS_clone, SYS_clone3, SYS_close, SYS_close_range,
    SYS_connect, SYS_copy_file_range, SYS_dup, SYS_dup3, SYS_epoll_create1, SYS_epoll_ctl,
    SYS_epoll_pwait, SYS_epoll_pwait2, SYS_eventfd2, SYS_exit, SYS_exit_group, SYS_faccessat,
    SYS_faccessat2, SYS_fadvise64, SYS_fallocate, SYS_fchmod, SYS_fchmodat, SYS_fchown,
    SYS_fchownat, SYS_fcntl, SYS_fdatasync, SYS_flock, SYS_fstat, SYS_fstatfs, SYS_fsync,
    SYS_ftruncate, SYS_futex, SYS_get_robust_list, SYS_getcwd, SYS_getdents64, SYS_getegid,
    SYS_geteuid, SYS_getgid, SYS_getgroups, SYS_getpeername, SYS_getpid, SYS_getppid,
    SYS_getrandom, SYS_getresgid, SYS_getresuid, SYS_getrusage, SYS_getsockname, SYS_getsockopt,
    SYS_gettid, SYS_gettimeofday, SYS_getuid, SYS_ioctl, SYS_linkat, SYS_listen, SYS_lseek,
    SYS_madvise, SYS_membarrier, SYS_mkdirat, SYS_mlock, SYS_mmap, SYS_mprotect, SYS_mremap,
    SYS_munlock, SYS_munmap, SYS_name_to_handle_at, SYS_nanosleep, SYS_newfstatat,
    SYS_open_by_handle_at, SYS_openat, SYS_openat2, SYS_perf_event_open, SYS_pidfd_getfd,
    SYS_pidfd_open, SYS_pipe2, SYS_ppoll, SYS_prctl, SYS_pread64, SYS_preadv, SYS_prlimit64,
    SYS_pselect6, SYS_pwrite64, SYS_pwritev, SYS_read, SYS_readlinkat, SYS_readv, SYS_recvfrom,
    SYS_recvmmsg, SYS_recvmsg, SYS_renameat2, SYS_restart_syscall, SYS_rseq, SYS_rt_sigaction,
    SYS_rt_sigpending, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_rt_sigtimedwait,
    SYS_sched_getaffinity, SYS_sched_yield, SYS_sendfile, SYS_sendmmsg, SYS_sendmsg, SYS_sendto,
    SYS_set_robust_list, SYS_set_tid_address, SYS_setpriority, SYS_setsockopt, SYS_shutdown,
    SYS_sigaltstack, SYS_socket, SYS_socketpair, SYS_statfs, SYS_statx, SYS_symlinkat, SYS_sysinfo,
    SYS_tgkill, SYS_timerfd_create, SYS_timerfd_gettime, SYS_timerfd_settime, SYS_tkill, SYS_umask,
    SYS_uname, SYS_unlinkat, SYS_utimensat, SYS_write, SYS_writev, c_long,
};

use super::{
    filter::{Allowed, Condition},
    role::Role,
};
use Condition::{HasBits, Is, IsNot, LacksBits};

/// What threads, memory and the end of a process take.
const RUNTIME: &[c_long] = &[
    SYS_brk,
    SYS_clock_getres,
    SYS_clock_gettime,
    SYS_clock_nanosleep,
    SYS_exit,
    SYS_exit_group,
    SYS_futex,
    SYS_get_robust_list,
    SYS_getpid,
    SYS_getrandom,
    SYS_gettid,
    SYS_gettimeofday,
    SYS_madvise,
    SYS_membarrier,
    SYS_mremap,
    SYS_munmap,
    SYS_nanosleep,
    SYS_restart_syscall,
    SYS_rseq,
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_rt_sigreturn,
    SYS_sched_getaffinity,
    SYS_sched_yield,
    SYS_set_robust_list,
    SYS_set_tid_address,
    SYS_sigaltstack,
    SYS_tgkill,
    SYS_tkill,
];

/// Reading and writing what is open.
const OPEN_FILES: &[c_long] = &[
    SYS_close,
    SYS_epoll_ctl,
    SYS_fcntl,
    SYS_fstat,
    SYS_lseek,
    SYS_pread64,
    SYS_read,
    SYS_readv,
    SYS_write,
    SYS_writev,
];

/// The agent's files: store, sinks, configuration, pins and `/proc`.
const FILES: &[c_long] = &[
    SYS_close_range,
    SYS_copy_file_range,
    SYS_dup,
    SYS_dup3,
    SYS_faccessat,
    SYS_faccessat2,
    SYS_fadvise64,
    SYS_fallocate,
    SYS_fchmod,
    SYS_fchmodat,
    SYS_fchown,
    SYS_fchownat,
    SYS_fdatasync,
    SYS_flock,
    SYS_fstatfs,
    SYS_fsync,
    SYS_ftruncate,
    SYS_getcwd,
    SYS_getdents64,
    SYS_linkat,
    SYS_mkdirat,
    SYS_mlock,
    SYS_munlock,
    SYS_newfstatat,
    SYS_openat,
    SYS_openat2,
    SYS_preadv,
    SYS_pwrite64,
    SYS_pwritev,
    SYS_readlinkat,
    SYS_renameat2,
    SYS_sendfile,
    SYS_statfs,
    SYS_statx,
    SYS_symlinkat,
    SYS_umask,
    SYS_unlinkat,
    SYS_utimensat,
    // Paths of control groups by their ids.
    SYS_name_to_handle_at,
    SYS_open_by_handle_at,
];

/// Waiting, and the network.
const EVENTS: &[c_long] = &[
    SYS_accept4,
    SYS_bind,
    SYS_connect,
    SYS_epoll_create1,
    SYS_epoll_pwait,
    SYS_epoll_pwait2,
    SYS_eventfd2,
    SYS_getpeername,
    SYS_getsockname,
    SYS_getsockopt,
    SYS_listen,
    SYS_pipe2,
    SYS_ppoll,
    SYS_pselect6,
    SYS_recvfrom,
    SYS_recvmmsg,
    SYS_recvmsg,
    SYS_rt_sigpending,
    SYS_rt_sigtimedwait,
    SYS_sendmmsg,
    SYS_sendmsg,
    SYS_sendto,
    SYS_setsockopt,
    SYS_shutdown,
    SYS_socketpair,
    SYS_timerfd_create,
    SYS_timerfd_gettime,
    SYS_timerfd_settime,
];

/// The agent about itself, and the kernel side.
const AGENT: &[c_long] = &[
    SYS_bpf,
    SYS_capget,
    // Only ever to less: what is given up does not come back.
    SYS_capset,
    // Answered by a second filter.
    SYS_clone3,
    SYS_getegid,
    SYS_geteuid,
    SYS_getgid,
    SYS_getgroups,
    SYS_getppid,
    SYS_getresgid,
    SYS_getresuid,
    SYS_getrusage,
    SYS_getuid,
    SYS_perf_event_open,
    // Filters of the packet sockets of others.
    SYS_pidfd_getfd,
    SYS_pidfd_open,
    SYS_sysinfo,
    SYS_uname,
];

/// Older forms, most of which arm64 never had.
#[cfg(target_arch = "x86_64")]
const OLDER: &[c_long] = &[
    libc::SYS_accept,
    libc::SYS_access,
    libc::SYS_arch_prctl,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_dup2,
    libc::SYS_epoll_wait,
    libc::SYS_getdents,
    libc::SYS_getrlimit,
    libc::SYS_link,
    libc::SYS_lstat,
    libc::SYS_mkdir,
    libc::SYS_open,
    libc::SYS_pipe,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_rmdir,
    libc::SYS_select,
    libc::SYS_stat,
    libc::SYS_symlink,
    libc::SYS_time,
    libc::SYS_unlink,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[c_long] = &[libc::SYS_accept, RENAMEAT];

/// `__NR_renameat` of `include/uapi/asm-generic/unistd.h`, by which libraries rename on arm64.
#[cfg(not(target_arch = "x86_64"))]
const RENAMEAT: c_long = 38;

/// `include/uapi/linux/sched.h`: every namespace that `clone(2)` can make, and no trace of it.
const NEW_NAMESPACES: u64 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_UNTRACED) as u64;

/// Options of `prctl(2)` that name a thread or memory, and that ask.
const PRCTL: [i32; 7] = [
    libc::PR_SET_NAME,
    libc::PR_GET_NAME,
    libc::PR_SET_VMA,
    libc::PR_GET_DUMPABLE,
    libc::PR_CAPBSET_READ,
    libc::PR_GET_NO_NEW_PRIVS,
    libc::PR_GET_SECCOMP,
];

/// The calls of a role.
pub(super) fn of(role: Role) -> Vec<Allowed> {
    let plain = |calls: &'static [c_long]| {
        calls.iter().map(|number| Allowed { number: *number, any_of: Vec::new() })
    };
    let base = plain(RUNTIME).chain(plain(OPEN_FILES)).chain(memory());
    match role {
        Role::Agent => {
            let more = [FILES, EVENTS, AGENT, OLDER].into_iter().flat_map(plain);
            base.chain(more).chain(agent_with_conditions()).collect()
        }
        Role::Parser => base.chain(parser_with_conditions()).collect(),
    }
}

/// No memory is writable and executable.
fn memory() -> [Allowed; 2] {
    let never_both = || {
        vec![
            vec![LacksBits(2, libc::PROT_EXEC as u64)],
            vec![LacksBits(2, libc::PROT_WRITE as u64)],
        ]
    };
    [SYS_mmap, SYS_mprotect].map(|number| Allowed { number, any_of: never_both() })
}

fn agent_with_conditions() -> Vec<Allowed> {
    let families = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
    let is_at = |at: u8| move |value: i32| vec![Is(at, value.cast_unsigned())];
    vec![
        Allowed { number: SYS_socket, any_of: families.into_iter().map(is_at(0)).collect() },
        Allowed { number: SYS_clone, any_of: vec![vec![LacksBits(0, NEW_NAMESPACES)]] },
        Allowed { number: SYS_prctl, any_of: PRCTL.into_iter().map(is_at(0)).collect() },
        // A thread that others do not wait for lowers its own priority.
        Allowed {
            number: SYS_setpriority,
            any_of: vec![vec![Is(0, libc::PRIO_PROCESS), Is(1, 0)]],
        },
        // Of this process alone.
        Allowed { number: SYS_prlimit64, any_of: vec![is_at(0)(0)] },
        // Not to type on a terminal.
        Allowed {
            number: SYS_ioctl,
            any_of: vec![vec![IsNot(1, libc::TIOCSTI as u32), IsNot(1, libc::TIOCLINUX as u32)]],
        },
    ]
}

fn parser_with_conditions() -> Vec<Allowed> {
    // Whether standard output is a terminal, and how wide.
    let questions = [libc::TCGETS, libc::TIOCGWINSZ];
    // Of an open file; a path would say whether a file is there.
    let of_open = |at| vec![vec![HasBits(at, libc::AT_EMPTY_PATH as u64)]];
    vec![
        Allowed {
            number: SYS_ioctl,
            any_of: questions.into_iter().map(|question| vec![Is(1, question as u32)]).collect(),
        },
        Allowed { number: SYS_statx, any_of: of_open(2) },
        Allowed { number: SYS_newfstatat, any_of: of_open(3) },
    ]
}
