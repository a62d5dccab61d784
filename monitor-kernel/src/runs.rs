//! How often programs run, in a moment in which the kernel counts it.

use std::{collections::BTreeMap, io, os::fd::OwnedFd};

use crate::sys;

/// Counts the runs of programs while it exists. The kernel then counts and times every program of the
/// host, which makes each run some nanoseconds longer.
#[derive(Debug)]
pub struct RunCounts {
    _statistics: OwnedFd,
    programs: Vec<Program>,
}

#[derive(Debug)]
struct Program {
    id: u32,
    descriptor: OwnedFd,
    runs_before: u64,
}

impl RunCounts {
    /// Begins to count the runs of the programs with these ids. Takes CAP_SYS_ADMIN.
    ///
    /// # Errors
    /// The kernel refuses to count (Linux 5.8), or a program is gone.
    pub fn begin(ids: impl IntoIterator<Item = u32>) -> io::Result<Self> {
        let statistics = sys::enable_run_statistics()?;
        let program = |id| -> io::Result<Program> {
            let descriptor = sys::open_program(id)?;
            let runs_before = sys::run_count(&descriptor)?;
            Ok(Program { id, descriptor, runs_before })
        };
        let programs = ids.into_iter().map(program).collect::<io::Result<_>>()?;
        Ok(Self { _statistics: statistics, programs })
    }

    /// Runs of each program by now, by its id.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn so_far(&self) -> io::Result<BTreeMap<u32, u64>> {
        let runs = |program: &Program| {
            let runs = sys::run_count(&program.descriptor)?;
            Ok((program.id, runs.saturating_sub(program.runs_before)))
        };
        self.programs.iter().map(runs).collect()
    }
}
