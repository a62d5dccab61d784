//! Becoming root, only for the commands that need it.

use std::{ffi::OsStr, fs, os::unix::fs::MetadataExt as _, process::Command};

use anyhow::{Context as _, Result};

use bpf_toolchain::find_program;

/// Whether this process is root. A process owns its own folder in /proc.
pub(crate) fn is_root() -> Result<bool> {
    let process = fs::metadata("/proc/self").context("cannot tell who runs this: no /proc")?;
    Ok(process.uid() == 0)
}

/// A command that runs as root, through sudo where needed.
pub(crate) fn as_root(program: impl AsRef<OsStr>) -> Result<Command> {
    if is_root()? {
        return Ok(Command::new(program));
    }
    let sudo = find_program("sudo")
        .context("this needs root: run it as root, or install sudo and allow yourself to use it")?;
    let mut command = Command::new(sudo);
    command.arg(program);
    Ok(command)
}
