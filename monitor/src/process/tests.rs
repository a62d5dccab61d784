//! The join, on processes of this test.

use std::{
    fs,
    io::Read as _,
    os::unix::{fs::MetadataExt as _, process::parent_id},
    process::{Child, Command, Stdio, id},
};

use bytemuck::Zeroable as _;
use monitor_common::{
    socket_event::{Mechanism, SocketEvent, SocketEventKind, known},
    socket_record::{CapturedCommandLine, SocketRecord},
};

use super::{proc_dir::ProcessDir, start_time::to_nanoseconds, stat::Stat, *};
use crate::config::CommandLines;
use monitor_kernel::cgroup;

fn stat(pid: u32) -> Stat {
    ProcessDir::open(pid).and_then(|process| process.stat()).expect("a process")
}

/// What the kernel side captures of a process that calls now.
fn record(pid: u32) -> SocketEvent {
    let stat = stat(pid);
    let mut process_name = [0; 16];
    process_name[..stat.name.len()].copy_from_slice(stat.name.as_bytes());
    SocketEvent {
        tgid: pid,
        pid,
        parent_tgid: stat.parent_pid,
        // The kernel reports start times in nanoseconds, which are no whole ticks.
        start_time_ns: to_nanoseconds(stat.start_ticks) + 7,
        time_ns: u64::MAX,
        uid: 4_294_000_001,
        process_name,
        arguments_at: stat.arguments_at.expect("a program").get(),
        known: known::PARENT | known::START_TIME | known::PROCESS_NAME,
        kind: SocketEventKind::Bind as u8,
        mechanism: Mechanism::Fexit as u8,
        ..SocketEvent::zeroed()
    }
}

/// The record as it enters, with the beginning of a command line.
fn decoded(event: &SocketEvent, captured: Option<&[u8]>) -> SocketRecord {
    let mut record = SocketRecord::try_from(event).expect("a record");
    if let Some(caller) = &mut record.caller {
        caller.command_line = captured.map(|bytes| CapturedCommandLine {
            bytes: bytes.into(),
            is_truncated: bytes.len() < event.command_line_len as usize,
        });
    }
    record
}

/// A process that does nothing until its input is closed.
struct Idle(Child);

impl Idle {
    fn start() -> Self {
        let child = Command::new("cat").args(["-", "-"]).stdin(Stdio::piped()).spawn();
        let idle = Self(child.expect("cat"));
        // Until it has become cat, it is a copy of this process.
        while fs::read(format!("/proc/{}/cmdline", idle.0.id())).expect("a line") != b"cat\0-\0-\0"
        {
            std::thread::yield_now();
        }
        idle
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    fn end(mut self) {
        drop(self.0.stdin.take());
        self.0.wait().expect("waited");
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn identify(enricher: &mut ProcessEnricher, record: &SocketEvent) -> Identity {
    enricher.identify(&decoded(record, None)).expect("a process")
}

#[test]
fn a_process_that_lives_is_told_in_full() {
    let idle = Idle::start();
    let identity = identify(&mut ProcessEnricher::new(CommandLines::Masked), &record(idle.pid()));
    let executable = fs::read_link(format!("/proc/{}/exe", idle.pid())).expect("a link");
    let told = identity.executable.expect("an executable");
    assert_eq!((told.path, told.is_deleted), (executable.display().to_string(), false));
    assert_eq!(identity.name.as_deref(), Some("cat"));
    assert_eq!(identity.command_line.expect("a line").arguments, ["cat", "-", "-"]);
    assert_eq!(identity.parent_pid, Some(id()));
    assert_eq!(identity.start_time_ns, Some(record(idle.pid()).start_time_ns));
    assert_eq!(identity.real_user, Some(User { id: 4_294_000_001, name: None }));
    assert_eq!(identity.effective_user, None);
    let chain: Vec<u32> = identity.ancestors.iter().map(|ancestor| ancestor.pid).collect();
    assert_eq!(chain[..2], [id(), parent_id()]);
    assert!(chain.len() <= MAX_ANCESTORS);
    assert!(identity.cgroup.is_some());
    assert!(identity.netns_inode.is_some());
}

/// A process that may create a mount namespace can choose any path in it.
#[test]
fn a_file_that_is_mounted_over_another_is_not_the_hosts() {
    let script = "mount --bind /bin/cat /bin/sleep && exec /bin/sleep /proc/self/mounts -";
    let is_root = rustix::process::geteuid().is_root();
    let mut child = Command::new("unshare")
        .args([if is_root { "-m" } else { "-Urm" }, "sh", "-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map(Idle)
        .expect("unshare");
    // It has become what it is to be when it writes.
    let mut written = [0; 1];
    child.0.stdout.as_mut().expect("piped").read_exact(&mut written).expect("mounts");
    let other = ProcessEnricher::new(CommandLines::Masked).look_up(child.pid()).expect("it lives");
    let executable = other.executable.expect("an executable");
    assert!(executable.path.ends_with("/sleep") && !other.executable_is_hosts, "{executable:?}");
    let own = ProcessEnricher::new(CommandLines::Masked).look_up(id()).expect("myself");
    assert!(own.executable_is_hosts, "{own:?}");
}

#[test]
fn a_process_in_a_user_namespace_of_its_own_is_not_in_the_hosts() {
    let mut child = Command::new("unshare")
        .args(["-Ur", "cat", "/proc/self/mounts", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map(Idle)
        .expect("unshare");
    let mut written = [0; 1];
    child.0.stdout.as_mut().expect("piped").read_exact(&mut written).expect("mounts");
    let mut enricher = ProcessEnricher::new(CommandLines::Masked);
    let other = enricher.look_up(child.pid()).expect("it lives");
    assert!(other.executable_is_hosts && !other.is_in_hosts_user_namespace, "{other:?}");
    let own = enricher.look_up(id()).expect("myself");
    assert!(own.is_in_hosts_user_namespace, "{own:?}");
}

#[test]
fn omits_command_lines_when_configured() {
    let idle = Idle::start();
    let mut enricher = ProcessEnricher::new(CommandLines::Omitted);
    assert_eq!(identify(&mut enricher, &record(idle.pid())).command_line, None);
    enricher.show_command_lines(CommandLines::Masked);
    assert!(identify(&mut enricher, &record(idle.pid())).command_line.is_some());
}

#[test]
fn the_captured_command_line_is_completed_and_never_replaced() {
    let idle = Idle::start();
    let mut enricher = ProcessEnricher::new(CommandLines::Masked);
    let mut arguments = |captured: &[u8], length| {
        let record = SocketEvent { command_line_len: length, ..record(idle.pid()) };
        let identity = enricher.identify(&decoded(&record, Some(captured))).expect("a process");
        let line = identity.command_line.expect("a line");
        (line.arguments.join(" "), line.is_truncated, identity.executable.is_some())
    };
    assert_eq!(arguments(b"cat\0-\0-\0", 8), ("cat - -".into(), false, true));
    assert_eq!(arguments(b"cat\0-", 8), ("cat - -".into(), false, true));
    // It was another program when it called.
    assert_eq!(arguments(b"dog\0-", 8), ("dog -".into(), true, false));
}

#[test]
fn a_reused_id_is_never_blamed() {
    let idle = Idle::start();
    let mut enricher = ProcessEnricher::new(CommandLines::Masked);
    let living = record(idle.pid());
    let tick = to_nanoseconds(1);
    for start_time_ns in [living.start_time_ns - tick, living.start_time_ns + tick] {
        let mut earlier = SocketEvent { start_time_ns, ..living };
        earlier.process_name = *b"earlier\0\0\0\0\0\0\0\0\0";
        let identity = identify(&mut enricher, &earlier);
        assert_eq!(identity.name.as_deref(), Some("earlier"));
        assert_eq!(identity.executable, None);
        assert_eq!(identity.command_line, None);
        assert_eq!(identity.netns_inode, None);
    }
    // Where its birth is not known, it must have been there at the time of the call.
    let mut earlier_call = living;
    (earlier_call.known, earlier_call.start_time_ns) = (known::PARENT, 0);
    earlier_call.time_ns = living.start_time_ns + tick;
    assert!(identify(&mut enricher, &earlier_call).executable.is_some());
    earlier_call.time_ns = living.start_time_ns - tick;
    assert_eq!(identify(&mut enricher, &earlier_call).executable, None);
}

/// Name and command line can be the same; where the kernel has put the arguments is not.
#[test]
fn a_program_that_came_later_is_never_told() {
    let idle = Idle::start();
    let now = record(idle.pid());
    let before = SocketEvent { arguments_at: now.arguments_at ^ 16, ..now };
    let mut enricher = ProcessEnricher::new(CommandLines::Masked);
    assert_eq!(identify(&mut enricher, &before).executable, None);
    assert!(identify(&mut enricher, &now).executable.is_some());
    assert_eq!(identify(&mut enricher, &before).executable, None, "from memory");
}

#[test]
fn a_process_that_is_gone_is_named_by_what_was_captured() {
    let idle = Idle::start();
    let record = record(idle.pid());
    let close = SocketEvent { kind: 3, arguments_at: 0, ..record };
    let mut enricher = ProcessEnricher::new(CommandLines::Masked);
    let living = enricher.identify(&decoded(&record, Some(b"cat\0-\0-\0"))).expect("a process");
    idle.end();
    // A enricher that saw it alive remembers it; under another name it may be another program.
    assert_eq!(identify(&mut enricher, &close), living);
    let renamed = SocketEvent { process_name: *b"dog\0\0\0\0\0\0\0\0\0\0\0\0\0", ..close };
    assert_eq!(identify(&mut enricher, &renamed).executable, None);
    // One that did not has what the kernel side reported, and the parent.
    let mut enricher = ProcessEnricher::new(CommandLines::Masked);
    let gone = enricher.identify(&decoded(&record, Some(b"cat\0-\0-\0"))).expect("a process");
    assert_eq!(gone.name.as_deref(), Some("cat"));
    assert_eq!(gone.command_line, living.command_line);
    assert_eq!(gone.executable, None);
    assert_eq!(gone.ancestors, living.ancestors);
}

/// With hierarchies of version 1, the kernel side knows the unified one's root of every process.
#[test]
fn a_control_group_is_remembered_where_only_the_root_is_told() {
    let idle = Idle::start();
    let root = cgroup::root().and_then(|root| Some(fs::metadata(root).ok()?.ino()));
    let record = SocketEvent { cgroup_id: root.unwrap_or_default(), ..record(idle.pid()) };
    let mut enricher = ProcessEnricher::new(CommandLines::Masked);
    let first = identify(&mut enricher, &record).cgroup;
    assert!(first.is_some());
    assert_eq!(identify(&mut enricher, &record).cgroup, first, "the second time, from memory");
}

#[test]
fn a_younger_parent_is_none() {
    let (older, younger) = (Idle::start(), Idle::start());
    let mut child = record(older.pid());
    child.parent_tgid = younger.pid();
    child.start_time_ns = to_nanoseconds(stat(younger.pid()).start_ticks) - 1;
    let identity = identify(&mut ProcessEnricher::new(CommandLines::Masked), &child);
    assert_eq!(identity.parent_pid, Some(younger.pid()));
    assert!(identity.ancestors.is_empty());
}

#[test]
fn interrupts_are_nobody() {
    let interrupt = decoded(&SocketEvent { tgid: 0, ..record(id()) }, None);
    assert_eq!(ProcessEnricher::new(CommandLines::Masked).identify(&interrupt), None);
}

#[test]
fn who_is_asked_for_is_looked_up() {
    let identity = ProcessEnricher::new(CommandLines::Masked).look_up(id()).expect("myself");
    assert_eq!(identity.parent_pid, Some(parent_id()));
    let (real, effective) = ProcessDir::open(id()).and_then(|p| p.user_ids()).expect("ids");
    assert_eq!(identity.real_user.map(|user| user.id), Some(real));
    assert_eq!(identity.effective_user.map(|user| user.id), Some(effective));
    assert!(identity.creation_time.expect("a time") < jiff::Timestamp::now());
}
