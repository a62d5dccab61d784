//! `process_*`, as client libraries have it.

use procfs::{
    WithCurrentSystemInfo as _,
    process::{LimitValue, Process},
};

/// Resource usage of this process.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessFacts {
    /// User and system time, seconds.
    pub cpu_seconds: f64,
    /// Open descriptors.
    pub open_fds: f64,
    /// Limit of descriptors.
    pub max_fds: f64,
    /// Virtual memory, bytes.
    pub virtual_memory_bytes: f64,
    /// Resident memory, bytes.
    pub resident_memory_bytes: f64,
    /// Start, seconds since the epoch.
    pub start_time_seconds: f64,
}

impl ProcessFacts {
    /// Reads `/proc/self`.
    pub fn read() -> procfs::ProcResult<Self> {
        let process = Process::myself()?;
        let stat = process.stat()?;
        let ticks = procfs::ticks_per_second() as f64;
        let max_fds = match process.limits()?.max_open_files.soft_limit {
            LimitValue::Value(limit) => limit as f64,
            LimitValue::Unlimited => f64::INFINITY,
        };
        let booted = procfs::boot_time_secs()? as f64;
        Ok(Self {
            cpu_seconds: (stat.utime + stat.stime) as f64 / ticks,
            open_fds: process.fd_count()? as f64,
            max_fds,
            virtual_memory_bytes: stat.vsize as f64,
            resident_memory_bytes: stat.rss_bytes().get() as f64,
            start_time_seconds: booted + stat.starttime as f64 / ticks,
        })
    }
}
