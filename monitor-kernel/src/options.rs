//! What the kernel side is loaded with, and the streams that loading returns.

use crate::{events::Events, log::KernelLog, object::KernelLogLevel, samples::Samples};

/// Settings that are fixed when the kernel side is loaded.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Whether the caller's command line is captured.
    pub command_lines: bool,
    /// Number of ports that are watched at first; more may follow.
    pub ports: usize,
    /// Number of interfaces that are counted on at first; more may follow.
    pub interfaces: usize,
    /// Verbosity of the kernel side.
    pub log_level: KernelLogLevel,
}

impl Options {
    /// For a trial: everything, without diagnostics.
    pub const TRIAL: Self =
        Self { command_lines: true, ports: 0, interfaces: 1, log_level: KernelLogLevel::Off };
}

/// The ring buffers of the kernel side.
pub struct Streams {
    /// Socket calls.
    pub events: Events,
    /// First payloads and connection attempts.
    pub samples: Samples,
    /// Diagnostics.
    pub log: KernelLog,
}
