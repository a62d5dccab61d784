//! The ancestors of a process.

use std::time::{Duration, Instant};

use super::{
    generations::Generations,
    identity::{Ancestor, MAX_ANCESTORS},
    start_time::StartTime,
};

/// How long a chain that was read is used again: programs that are started in quick succession have
/// the same ancestors.
const FRESH: Duration = Duration::from_millis(100);

/// Chains that are remembered, twice as many at most.
const REMEMBERED: usize = 256;

/// Finds ancestors.
#[derive(Debug)]
pub(super) struct Lineage {
    recent: Generations<u32, Chain>,
}

/// A process and those above it.
#[derive(Debug)]
struct Chain {
    read: Instant,
    /// When the process was made, clock ticks.
    start_ticks: u64,
    ancestors: Vec<Ancestor>,
}

impl Lineage {
    pub(super) fn new() -> Self {
        Self { recent: Generations::new(REMEMBERED) }
    }

    /// The parent, read now, and those above it.
    ///
    /// A process is never older than its parent, nor than the ancestor that adopted it. One that has
    /// the parent's id and is younger is another process.
    pub(super) fn of(&mut self, parent_pid: Option<u32>, start_ticks: u64) -> Vec<Ancestor> {
        let Some((parent, above, start_ticks)) = read(parent_pid, start_ticks) else {
            return Vec::new();
        };
        let mut ancestors = vec![parent];
        ancestors.extend_from_slice(self.above(above, start_ticks));
        ancestors
    }

    fn above(&mut self, pid: u32, youngest: u64) -> &[Ancestor] {
        let is_good = |chain: &Chain| chain.read.elapsed() < FRESH && chain.start_ticks <= youngest;
        if !self.recent.get(&pid).is_some_and(is_good) {
            let chain = Chain::read(pid, youngest);
            self.recent.insert(pid, chain);
        }
        self.recent.get(&pid).map_or(&[], |chain| &chain.ancestors)
    }
}

impl Chain {
    /// As many ancestors as are kept behind a parent.
    fn read(pid: u32, youngest: u64) -> Self {
        let mut chain = Self { read: Instant::now(), start_ticks: youngest, ancestors: Vec::new() };
        let (mut next, mut youngest) = (pid, youngest);
        while chain.ancestors.len() < MAX_ANCESTORS - 1
            && let Some((ancestor, above, start_ticks)) = read(Some(next), youngest)
        {
            if chain.ancestors.is_empty() {
                chain.start_ticks = start_ticks;
            }
            chain.ancestors.push(ancestor);
            (next, youngest) = (above, start_ticks);
        }
        chain
    }
}

/// A process that was made in the tick `youngest` or before, the id of its parent, and its own tick.
fn read(pid: Option<u32>, youngest: u64) -> Option<(Ancestor, u32, u64)> {
    let pid = pid.filter(|pid| *pid != 0)?;
    let (process, stat) = StartTime::NotAfter(youngest).find(pid).ok()?;
    let executable = process.executable().ok();
    Some((Ancestor { pid, name: stat.name, executable }, stat.parent_pid, stat.start_ticks))
}
