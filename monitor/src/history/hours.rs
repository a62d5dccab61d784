//! The last hour of every port.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use monitor_kernel::snapshot::Snapshot;
use monitor_ledger::{ClockReading, PortState};

use super::{
    bucket::{Bucket, Growth},
    growth::LastCounters,
    ring::{Ring, STEP, Shape},
};
use crate::api::history::{History, Series, StateSince};

/// Ports that have an hour at most. Of more watched ones, those have it where something happened; the
/// one that is idle for longest makes room.
pub const MAX_PORTS: usize = 64;

/// Seconds after which everything that is kept is too old.
const HOUR: u64 = 3600;

const NANOSECONDS: u64 = 1_000_000_000;

/// The last hour of every port.
#[derive(Debug, Default)]
pub struct Hours {
    counters: LastCounters,
    rings: BTreeMap<u16, (Ring, LastActive)>,
    shape: Shape,
    /// The last reading; its second is the newest step.
    read_at: Option<ClockReading>,
    /// When a port last made room for another one.
    crowded: Option<u64>,
}

/// Second of the boot in which something last happened.
type LastActive = u64;

const fn second(at: ClockReading) -> u64 {
    at.boottime_ns / NANOSECONDS
}

impl Hours {
    /// Takes a reading of the counters, and the states of the ports behind it.
    pub fn record(
        &mut self,
        at: ClockReading,
        counters: &Snapshot,
        state: impl Fn(u16) -> Option<PortState>,
    ) {
        let elapsed = match self.read_at {
            None => 1,
            Some(before) => second(at).saturating_sub(second(before)),
        };
        if elapsed > HOUR {
            // All that is known is older than an hour.
            self.rings.clear();
            self.shape = Shape::default();
            self.crowded = None;
        }
        let grown = self.counters.advance(counters);
        self.choose_ports(second(at), counters, &grown);
        let elapsed = if elapsed > HOUR { 1 } else { elapsed };
        for (port, (ring, last_active)) in &mut self.rings {
            let growth = grown.get(port).copied().unwrap_or_default();
            let state = state(*port).unwrap_or_default();
            if !growth.is_zero() || state != PortState::Quiet {
                *last_active = second(at);
            }
            ring.advance(elapsed, &growth, state);
        }
        (0..elapsed).for_each(|_| self.shape.advance());
        self.read_at = Some(at);
    }

    /// Every watched port where they are few, otherwise those with something in the last hour.
    fn choose_ports(&mut self, now: u64, counters: &Snapshot, grown: &BTreeMap<u16, Growth>) {
        let watched = &counters.sockets;
        let are_few = watched.len() <= MAX_PORTS;
        let is_watched = |port| self.counters.is_watched(port);
        self.rings
            .retain(|port, (_, active)| is_watched(*port) && (are_few || *active + HOUR >= now));
        let few = watched.iter().map(|row| row.port).filter(|_| are_few);
        for port in few.chain(grown.keys().copied().filter(|_| !are_few)) {
            if self.rings.contains_key(&port) {
                continue;
            }
            if self.rings.len() >= MAX_PORTS {
                let idlest = self.rings.iter().min_by_key(|(_, (_, active))| *active);
                let Some(idlest) = idlest.map(|(port, _)| *port) else { continue };
                self.rings.remove(&idlest);
                self.crowded = Some(now);
            }
            self.rings.insert(port, (Ring::idle(self.shape), now));
        }
    }

    /// The hour of a port that is in `state` now. Without steps before the first reading, and where it
    /// made room for those of other ports.
    pub fn of_port(&self, port: u16, state: PortState) -> History {
        let Some(at) = self.read_at else {
            return History { port, until: Timestamp::now(), series: vec![], states: vec![] };
        };
        let newest = second(at);
        let until = wall_of(at, newest + 1);
        let is_crowded = self.crowded.is_some_and(|then| then + HOUR >= newest);
        let idle;
        let ring = match self.rings.get(&port) {
            Some((ring, _)) => ring,
            None if is_crowded => return History { port, until, series: vec![], states: vec![] },
            None => {
                idle = Ring::idle(self.shape);
                &idle
            }
        };
        let seconds_begin = (newest + 1).saturating_sub(ring.seconds.len() as u64);
        let steps_begin = seconds_begin.saturating_sub((ring.steps.len() * STEP) as u64);
        let steps = series(ring.steps.iter(), STEP as u32, wall_of(at, steps_begin));
        let seconds = series(ring.seconds.iter(), 1, wall_of(at, seconds_begin));
        let states =
            states(ring, (steps_begin, seconds_begin), |second| wall_of(at, second), state);
        let series = [steps, seconds].into_iter().filter(|part| !part.packets_in.is_empty());
        History { port, until, series: series.collect(), states }
    }
}

/// The time of day at the beginning of a second of the boot, to the millisecond.
fn wall_of(at: ClockReading, second: u64) -> Timestamp {
    let ahead = i128::from(second) * i128::from(NANOSECONDS) - i128::from(at.boottime_ns);
    let ahead = SignedDuration::from_millis(i64::try_from(ahead / 1_000_000).unwrap_or_default());
    let wall = Timestamp::from_millisecond(at.wall.as_millisecond()).unwrap_or(at.wall);
    wall.checked_add(ahead).unwrap_or(wall)
}

fn series<'a>(
    buckets: impl Iterator<Item = &'a Bucket> + Clone,
    step_seconds: u32,
    since: Timestamp,
) -> Series {
    let of = |number: fn(&Bucket) -> u32| buckets.clone().map(number).collect::<Vec<u32>>();
    let any = |numbers: Vec<u32>| {
        if numbers.iter().all(|number| *number == 0) { Vec::new() } else { numbers }
    };
    Series {
        step_seconds,
        since,
        packets_in: of(|bucket| bucket.packets_in),
        packets_out: of(|bucket| bucket.packets_out),
        binds: any(of(|bucket| bucket.binds)),
        binds_refused: any(of(|bucket| bucket.binds_refused)),
    }
}

/// The states of a ring, each with its beginning. A ring of nothing but idle steps is of a port whose
/// state is known by the ledger alone.
fn states(
    ring: &Ring,
    (steps_begin, seconds_begin): (u64, u64),
    wall: impl Fn(u64) -> Timestamp,
    now: PortState,
) -> Vec<StateSince> {
    let steps = ring.steps.iter().enumerate();
    let seconds = ring.seconds.iter().enumerate();
    let all = steps
        .map(|(i, bucket)| (steps_begin + (i * STEP) as u64, bucket.state))
        .chain(seconds.map(|(i, bucket)| (seconds_begin + i as u64, bucket.state)));
    if ring.is_idle() {
        let first = all.map(|(second, _)| wall(second)).next();
        return first.map(|since| StateSince { state: now, since }).into_iter().collect();
    }
    let mut states: Vec<StateSince> = Vec::new();
    for (second, state) in all {
        if states.last().is_none_or(|last| last.state != state) {
            states.push(StateSince { state, since: wall(second) });
        }
    }
    states
}
