use super::*;

#[test]
fn no_list_has_a_call_that_reaches_other_processes() {
    let never = [
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_execve,
        libc::SYS_execveat,
        libc::SYS_setns,
        libc::SYS_unshare,
        libc::SYS_init_module,
        libc::SYS_finit_module,
        libc::SYS_delete_module,
        libc::SYS_kexec_load,
        libc::SYS_add_key,
        libc::SYS_request_key,
        libc::SYS_keyctl,
        libc::SYS_mount,
        libc::SYS_umount2,
        libc::SYS_pivot_root,
        libc::SYS_chroot,
        libc::SYS_open_tree,
        libc::SYS_move_mount,
        libc::SYS_fsopen,
        libc::SYS_kill,
        libc::SYS_pidfd_send_signal,
        libc::SYS_setuid,
        libc::SYS_setresuid,
        libc::SYS_io_uring_setup,
        libc::SYS_userfaultfd,
        libc::SYS_seccomp,
        libc::SYS_personality,
        libc::SYS_reboot,
        libc::SYS_swapon,
        libc::SYS_process_madvise,
        libc::SYS_kcmp,
    ];
    for role in [Role::Agent, Role::Parser] {
        let allowed: Vec<i64> = calls::of(role).into_iter().map(|call| call.number).collect();
        assert!(!never.iter().any(|number| allowed.contains(number)), "{role:?}");
        let mut distinct = allowed.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), allowed.len(), "{role:?}: a call is there twice");
    }
}

#[test]
fn a_parser_opens_nothing() {
    let allowed: Vec<i64> = calls::of(Role::Parser).into_iter().map(|call| call.number).collect();
    let opening =
        [libc::SYS_openat, libc::SYS_openat2, libc::SYS_socket, libc::SYS_bpf, libc::SYS_clone];
    assert!(!opening.iter().any(|number| allowed.contains(number)));
}

/// A thread has a filter of its own.
fn confined<T: Send + 'static>(role: Role, work: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::spawn(move || {
        confine(role).expect("a filter");
        work()
    });
    thread.join().expect("no panic")
}

fn errno(result: io::Result<impl Sized>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

#[test]
fn the_agent_executes_nothing_and_works_otherwise() {
    confined(Role::Agent, || {
        let executed = std::process::Command::new("/bin/true").status();
        assert_eq!(errno(executed), Some(libc::EPERM));
        assert!(std::fs::read("/proc/self/status").is_ok());
        assert!(std::net::TcpListener::bind("127.0.0.1:0").is_ok());
        let thread = std::thread::Builder::new().spawn(|| 7).expect("a thread");
        assert_eq!(thread.join().expect("no panic"), 7);
        // SAFETY: no memory is passed; it would be refused to a user without privileges as well.
        let unshared = unsafe { libc::unshare(libc::CLONE_NEWUSER) };
        let refusal = io::Error::last_os_error().raw_os_error();
        assert_eq!((unshared, refusal), (-1, Some(libc::EPERM)));
    });
}

#[test]
fn a_parser_reads_what_is_open() {
    use std::io::Read as _;
    let mut file = std::fs::File::open("/proc/self/status").expect("open");
    confined(Role::Parser, move || {
        let mut text = String::new();
        file.read_to_string(&mut text).expect("read");
        assert!(text.starts_with("Name:"));
        assert_eq!(errno(std::fs::File::open("/proc/self/status")), Some(libc::EPERM));
        assert_eq!(errno(std::net::UdpSocket::bind("127.0.0.1:0")), Some(libc::EPERM));
        assert_eq!(errno(std::fs::metadata("/etc/passwd")), Some(libc::EPERM));
    });
}
