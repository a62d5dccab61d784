//! Which processes hold a socket, and how they are named.

use std::{
    fs::{self},
    mem::MaybeUninit,
    os::{fd::AsFd as _, unix::net::UnixStream},
    path::PathBuf,
    process::{self, Command, Stdio},
    sync::mpsc::channel,
    thread,
};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use testkit::{
    child::take_stdin_from,
    eventually,
    kernel::unified_hierarchy,
    namespaces::spawn_with_own_descriptors,
    world::{in_world, port},
};

use super::support::{
    Holder, ID, bound_udp, check, copied, holders, only_holder, only_socket, page, pids, these,
};

#[test]
fn finds_every_holder_of_an_inherited_socket() {
    in_world(|_| {
        let ours = bound_udp(port(0));
        let child = Holder::start(ours.try_clone().expect("a copy"));
        let other = Holder::start(ours.try_clone().expect("a copy"));
        let all = [process::id(), child.pid(), other.pid()];
        assert_eq!(pids(&only_socket(port(0))), these(&all));
        // Who bound it is gone, who inherited it is not.
        drop(ours);
        assert_eq!(pids(&only_socket(port(0))), these(&all[1..]));
        drop(child);
        assert_eq!(pids(&only_socket(port(0))), these(&all[2..]));
        drop(other);
        assert_eq!(check(&[port(0)]).0, Some(0));
    });
}

#[test]
fn finds_the_holder_of_a_passed_socket() {
    in_world(|_| {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let sender = thread::spawn(move || {
            let socket = bound_udp(port(0));
            let passed = [socket.as_fd()];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            assert!(ancillary.push(SendAncillaryMessage::ScmRights(&passed)));
            let byte = [std::io::IoSlice::new(&[1])];
            sendmsg(&ours, &byte, &mut ancillary, SendFlags::empty()).expect("sent");
        });
        let mut command = Command::new("cat");
        take_stdin_from(&mut command, theirs);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("spawned");
        let child = Holder(child).named("cat");
        sender.join().expect("sent");
        assert_eq!(pids(&only_socket(port(0))), these(&[child.pid()]));
    });
}

#[test]
fn finds_holders_in_other_pid_namespaces() {
    in_world(|_| {
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--kill-child", "cat"]);
        let outer = Holder::run(command, bound_udp(port(0))).named("unshare");
        let children = format!("/proc/{0}/task/{0}/children", outer.pid());
        let inner: u32 = eventually("a process that is the first of its namespace", || {
            let child = fs::read_to_string(&children).ok()?.trim().parse().ok()?;
            let name = fs::read_to_string(format!("/proc/{child}/comm")).ok()?;
            (name.trim_end() == "cat").then_some(child)
        });
        let socket = only_socket(port(0));
        assert_eq!(pids(&socket), these(&[outer.pid(), inner]));
        let inner = holders(&socket).iter().find(|holder| holder.pid == inner).expect("inside");
        assert_eq!((inner.name.as_deref(), inner.parent_pid), (Some("cat"), Some(outer.pid())));
    });
}

/// A thread with descriptors of its own, which are not in the folder of the process.
#[test]
fn finds_threads_with_their_own_descriptors() {
    in_world(|_| {
        let (end, ended) = channel::<()>();
        let (announce, announced) = channel();
        let thread = spawn_with_own_descriptors(move || {
            let socket = bound_udp(port(0));
            announce.send(()).expect("a listener");
            let _ = ended.recv();
            drop(socket);
        });
        announced.recv().expect("bound");
        assert_eq!(pids(&only_socket(port(0))), these(&[process::id()]));
        drop(end);
        thread.join().expect("no panic");
    });
}

#[test]
fn marks_deleted_executables() {
    in_world(|world| {
        let (path, _holder) = copied(world, "gone", port(0));
        assert!(!page(port(0)).contains("(deleted)"));
        fs::remove_file(&path).expect("removed");
        assert_eq!(only_holder(port(0)).executable.as_deref(), path.to_str());
        assert!(page(port(0)).contains(&format!("{} (deleted)\n", path.display())));
        // One that is only called so.
        let (path, _other) = copied(world, "x (deleted)", port(1));
        assert_eq!(only_holder(port(1)).executable.as_deref(), path.to_str());
        assert!(page(port(1)).contains(&format!("{}\n", path.display())));
    });
}

#[test]
fn reports_both_names_of_a_renamed_process() {
    in_world(|_| {
        let mut shell = Command::new("sh");
        shell.args(["-c", "printf '\\033[31mred' > /proc/$$/comm; read line"]);
        let _holder = Holder::run(shell, bound_udp(port(0))).named("\u{1b}[31mred");
        let holder = only_holder(port(0));
        assert_eq!(holder.name.as_deref(), Some("\u{1b}[31mred"));
        let executable = fs::canonicalize("/bin/sh").expect("a shell");
        assert_eq!(holder.executable.as_deref(), executable.to_str());
        // No program speaks to the terminal.
        let page = page(port(0));
        assert!(!page.contains('\u{1b}') && page.contains("\\u{1b}[31mred"), "{page}");
    });
}

/// A control group below the unified hierarchy, which ends with this.
struct Group {
    folder: PathBuf,
    made: Vec<PathBuf>,
}

impl Group {
    fn make(path: &str) -> Option<Self> {
        let mut folder = unified_hierarchy()?;
        let mut made = Vec::new();
        for part in path.split('/') {
            folder.push(part);
            if fs::create_dir(&folder).is_ok() {
                made.push(folder.clone());
            }
        }
        Some(Self { folder, made })
    }

    fn take(&self, pid: u32) {
        fs::write(self.folder.join("cgroup.procs"), pid.to_string()).expect("moved");
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for folder in self.made.iter().rev() {
            let _ = fs::remove_dir(folder);
        }
    }
}

#[test]
fn names_containers_and_units_by_control_group() {
    let pod = "12345678_9abc_def0_1234_56789abcdef0";
    let cases = [
        (format!("gp-test-docker/{ID}"), Some(ID), None),
        (
            format!("kubepods.slice/kubepods-pod{pod}.slice/cri-containerd-{ID}.scope"),
            Some(ID),
            Some(format!("cri-containerd-{ID}.scope")),
        ),
        ("system.slice/gp-test.service".into(), None, Some("gp-test.service".to_owned())),
    ];
    in_world(|_| {
        for (path, container, unit) in cases {
            let Some(group) = Group::make(&path) else {
                return eprintln!("skipped: no unified hierarchy of control groups");
            };
            let holder = Holder::start(bound_udp(port(0)));
            group.take(holder.pid());
            let told = only_holder(port(0));
            assert_eq!(told.container_id.as_deref(), container, "{path}");
            assert_eq!(told.systemd_unit.as_deref(), unit.as_deref(), "{path}");
            drop(holder);
        }
    });
}
