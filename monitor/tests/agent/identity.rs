//! The join on control groups of the real hierarchy, and what it costs.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    process::{Child, Command, Stdio, id},
    thread,
    time::Instant,
};

use bytemuck::Zeroable as _;
use ghostport::{
    config::CommandLines,
    process::{Identity, ProcessEnricher},
};
use monitor_common::{
    socket_event::{Mechanism, SocketEvent, SocketEventKind, known},
    socket_record::{CapturedCommandLine, SocketRecord},
};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

const ID: &str = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";

/// The unified hierarchy; `None` on a host without.
fn hierarchy() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").expect("mounts");
    let mut mounts = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    Some(mounts.find(|fields| fields[2] == "cgroup2")?[1].into())
}

/// A record of a process that made a call, started later than any other, and has exited.
fn gone(cgroup_id: u64) -> SocketEvent {
    let mut record = SocketEvent::zeroed();
    (record.tgid, record.pid) = (id(), id());
    (record.start_time_ns, record.known) = (u64::MAX, known::START_TIME);
    record.cgroup_id = cgroup_id;
    (record.kind, record.mechanism) = (SocketEventKind::Bind as u8, Mechanism::Fexit as u8);
    record
}

/// The record as it enters, with a whole command line.
fn decoded(event: &SocketEvent, line: Option<&[u8]>) -> SocketRecord {
    let mut record = SocketRecord::try_from(event).expect("a record");
    if let Some(caller) = &mut record.caller {
        let captured =
            |bytes: &[u8]| CapturedCommandLine { bytes: bytes.into(), is_truncated: false };
        caller.command_line = line.map(captured);
    }
    record
}

fn container(identity: Option<Identity>) -> Option<String> {
    identity?.cgroup?.container_id.clone()
}

#[test]
fn names_the_container_of_a_process_that_is_gone() {
    let Some(hierarchy) = hierarchy() else {
        return eprintln!("skipped: no unified hierarchy of control groups");
    };
    let parent = hierarchy.join(format!("gp-identity-{}", id()));
    let group = parent.join(format!("docker-{ID}.scope"));
    fs::create_dir_all(&group).expect("a group");
    let record = decoded(&gone(fs::metadata(&group).expect("a group").ino()), None);
    let same = record.clone();
    let mut enricher = ProcessEnricher::new(CommandLines::Masked);
    let by_handle = container(enricher.identify(&record));
    // A thread without the capability to open a folder by its id.
    let by_walk = thread::spawn(move || {
        let sets = capabilities(None).expect("capabilities");
        let effective = sets.effective - CapabilitySet::DAC_READ_SEARCH;
        set_capabilities(None, CapabilitySets { effective, ..sets }).expect("fewer");
        container(ProcessEnricher::new(CommandLines::Masked).identify(&same))
    });
    let by_walk = by_walk.join().expect("no panic");
    fs::remove_dir(&group).expect("removed");
    fs::remove_dir(&parent).expect("removed");
    assert_eq!(by_handle.as_deref(), Some(ID));
    assert_eq!(by_walk.as_deref(), Some(ID));
    // An enricher that has seen the container keeps it; a new one cannot find it any more.
    assert_eq!(container(enricher.identify(&record)).as_deref(), Some(ID));
    let unknown = ProcessEnricher::new(CommandLines::Masked).identify(&record).expect("a process");
    assert_eq!(unknown.cgroup, None);
}

/// A process that waits on its input, once it is executed.
fn child() -> Child {
    let child = Command::new("cat").stdin(Stdio::piped()).spawn().expect("cat");
    while fs::read(format!("/proc/{}/cmdline", child.id())).expect("a line") != b"cat\0" {
        thread::yield_now();
    }
    child
}

/// `cargo test --release --test agent -- --ignored --nocapture identity`
#[test]
#[ignore = "a measurement"]
fn measures_the_cost_of_a_join() {
    const PROCESSES: usize = 500;
    let mut children: Vec<Child> = (0..PROCESSES).map(|_| child()).collect();
    let tick = 1_000_000_000 / rustix::param::clock_ticks_per_second();
    let records: Vec<SocketEvent> = children
        .iter()
        .map(|child| {
            let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).expect("facts");
            let (_, fields) = stat.rsplit_once(") ").expect("a name");
            let start = fields.split(' ').nth(19).and_then(|field| field.parse::<u64>().ok());
            let mut record = gone(1);
            (record.tgid, record.parent_tgid) = (child.id(), id());
            record.start_time_ns = start.expect("a start time") * tick + 1;
            record.process_name[..3].copy_from_slice(b"cat");
            record.known |= known::PARENT | known::PROCESS_NAME;
            record
        })
        .collect();
    let measure = |what: &str, enricher: &mut ProcessEnricher, line: Option<&[u8]>, alive: bool| {
        let mut nanoseconds: Vec<u128> = records
            .iter()
            .map(|record| {
                let record = decoded(record, line);
                let start = Instant::now();
                let identity = enricher.identify(&record).expect("a process");
                let taken = start.elapsed().as_nanos();
                assert_eq!(identity.executable.is_some(), alive, "{identity:?}");
                taken
            })
            .collect();
        nanoseconds.sort_unstable();
        let median = nanoseconds[nanoseconds.len() / 2] as f64 / 1e3;
        let last = nanoseconds[nanoseconds.len() * 99 / 100] as f64 / 1e3;
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "{what:<40} {median:>7.1} µs, 99 %: {last:.1} µs").expect("written");
    };
    let line: &[u8] = b"cat\0";
    measure(
        "alive, command line captured",
        &mut ProcessEnricher::new(CommandLines::Masked),
        Some(line),
        true,
    );
    measure(
        "alive, command line from /proc",
        &mut ProcessEnricher::new(CommandLines::Masked),
        None,
        true,
    );
    let mut remembering = ProcessEnricher::new(CommandLines::Masked);
    measure("alive, again", &mut remembering, Some(line), true);
    for child in &mut children {
        drop(child.stdin.take());
        child.wait().expect("waited");
    }
    measure("gone, remembered", &mut remembering, Some(line), true);
    measure("gone, never seen", &mut ProcessEnricher::new(CommandLines::Masked), Some(line), false);
}
