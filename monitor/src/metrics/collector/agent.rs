//! What the agent knows of itself: hooks, losses, maps, payloads, configuration, process.

use monitor_common::{errors::KernelError, sample::SkipCause};
use monitor_kernel::{hooks::Hook, snapshot::Snapshot};

use crate::metrics::{
    facts::AgentStatus, family::Family, holders::HolderInfo, names, process::ProcessFacts,
};

pub(super) fn payloads(snapshot: &Snapshot, status: &AgentStatus) -> [Family; 2] {
    let mut identified = Family::new(&names::PAYLOADS_IDENTIFIED);
    for (port, protocol, verdict, count) in &status.identified.rows {
        identified.add(&[&port.to_string(), protocol.name(), verdict.name()], *count as f64);
    }
    let mut skipped = Family::new(&names::PAYLOADS_SKIPPED);
    for cause in SkipCause::ALL {
        skipped.add(&[cause.name()], snapshot.skipped_samples[cause as usize] as f64);
    }
    skipped.add(&["queue_full"], status.identified.lost as f64);
    skipped.add(&["too_many_ports"], status.identified.uncounted as f64);
    [identified, skipped]
}

pub(super) fn holders(status: &AgentStatus) -> Family {
    let mut family = Family::new(&names::HOLDER_INFO);
    for holder in &status.holders {
        let HolderInfo { port, protocol, executable, unit, user, container } = holder;
        family.add(&[&port.to_string(), protocol, executable, unit, user, container], 1.0);
    }
    family
}

pub(super) fn hooks(snapshot: &Snapshot) -> Family {
    let mut family = Family::new(&names::HOOK_ATTACHED);
    let mut rows: Vec<_> = snapshot
        .hooks
        .iter()
        .map(|status| {
            let interface = status.interface.as_deref().unwrap_or_default();
            (status.hook, interface, status.attached)
        })
        .collect();
    rows.sort_unstable();
    rows.dedup();
    for (hook, interface, mechanism) in rows {
        let (name, value) = mechanism.map_or(("none", 0.0), |mechanism| (mechanism.name(), 1.0));
        family.add(&[hook.name(), name, interface], value);
    }
    family
}

pub(super) fn hook_losses(snapshot: &Snapshot) -> Family {
    let mut family = Family::new(&names::HOOKS_LOST);
    for (hook, count) in Hook::ALL.into_iter().zip(snapshot.hook_losses) {
        family.add(&[hook.name()], count as f64);
    }
    family
}

/// Losses by stage, and errors of the kernel side by cause. What the ring buffer lost is in both.
pub(super) fn losses(snapshot: &Snapshot, status: &AgentStatus) -> Vec<Family> {
    let mut events = Family::new(&names::EVENTS_LOST);
    let ring = snapshot.kernel_errors[KernelError::RingFull as usize]
        + snapshot.skipped_samples[SkipCause::RingFull as usize];
    for (stage, count) in
        [("ring", ring), ("queue", status.losses.queue), ("sink", status.losses.sink)]
    {
        events.add(&[stage], count as f64);
    }
    let mut errors = Family::new(&names::KERNEL_ERRORS);
    for cause in KernelError::ALL {
        errors.add(&[cause.name()], snapshot.kernel_errors[cause as usize] as f64);
    }
    errors.add(&["call_missed"], snapshot.missed_calls as f64);
    errors.add(&["addresses_stale"], status.address_failures as f64);
    let held_back = Family::of_one(&names::EVENTS_HELD_BACK, status.held_back as f64);
    vec![events, held_back, errors]
}

/// What delays events: reads that were given up, and the pipeline's progress.
pub(super) fn delays(status: &AgentStatus) -> Vec<Family> {
    let mut reads = Family::new(&names::PROCESS_READS_ABANDONED);
    let abandoned = status.abandoned_reads;
    for (reason, count) in [("timeout", abandoned.timed_out), ("refused", abandoned.refused)] {
        reads.add(&[reason], count as f64);
    }
    vec![reads, Family::of_one(&names::PIPELINE_BUSY, status.pipeline_busy.as_secs_f64())]
}

pub(super) fn maps(snapshot: &Snapshot) -> Vec<Family> {
    let mut entries = Family::new(&names::MAP_ENTRIES);
    let mut capacity = Family::new(&names::MAP_CAPACITY);
    for usage in &snapshot.maps {
        entries.add(&[&usage.map], usage.entries as f64);
        capacity.add(&[&usage.map], usage.capacity as f64);
    }
    vec![entries, capacity]
}

pub(super) fn agent(status: &AgentStatus) -> Vec<Family> {
    let mut build = Family::new(&names::BUILD_INFO);
    build.add(&[status.build.version, status.build.revision, &status.build.kernel], 1.0);
    let mut succeeded = Family::new(&names::SELFTEST_SUCCESS);
    let mut ended = Family::new(&names::SELFTEST_TIMESTAMP);
    // Absent where none has run: 0 would be a failure.
    if let Some(outcome) = &status.selftest {
        succeeded.add(&[], f64::from(u8::from(outcome.success)));
        ended.add(&[], outcome.time.as_millisecond() as f64 / 1e3);
    }
    vec![
        build,
        Family::of_one(&names::CONFIG_RELOAD_SUCCESS, f64::from(u8::from(status.reload_succeeded))),
        Family::of_one(
            &names::CONFIG_RELOAD_TIMESTAMP,
            status.reloaded_at.as_millisecond() as f64 / 1e3,
        ),
        succeeded,
        ended,
        Family::of_one(
            &names::UNMATCHED_INTERFACE_PATTERNS,
            status.unmatched_interface_patterns as f64,
        ),
    ]
}

pub(super) fn process(process: &ProcessFacts) -> Vec<Family> {
    vec![
        Family::of_one(&names::PROCESS_CPU_SECONDS, process.cpu_seconds),
        Family::of_one(&names::PROCESS_OPEN_FDS, process.open_fds),
        Family::of_one(&names::PROCESS_MAX_FDS, process.max_fds),
        Family::of_one(&names::PROCESS_VIRTUAL_MEMORY, process.virtual_memory_bytes),
        Family::of_one(&names::PROCESS_RESIDENT_MEMORY, process.resident_memory_bytes),
        Family::of_one(&names::PROCESS_START_TIME, process.start_time_seconds),
    ]
}
