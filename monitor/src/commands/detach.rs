//! `ghostport detach`: removes every hook, map and pin of ghostport from the kernel.

use std::process::ExitCode;

use monitor_kernel::interfaces::Interfaces;

use crate::terminal::{
    logging::{self, LogLevel},
    output::{CANNOT_LOOK, fail, print},
};

/// Detaches everything, and prints whether there was anything.
pub async fn run() -> ExitCode {
    logging::init_for_command(LogLevel::Warn);
    let detached = Interfaces::connect()
        .map_err(Into::into)
        .and_then(|netlink| monitor_kernel::detach_everything(&netlink));
    match detached {
        Ok(true) => print("every hook, map and pin of ghostport is removed\n"),
        Ok(false) => print("nothing of ghostport is in this kernel\n"),
        Err(error) => fail(CANNOT_LOOK, &error),
    }
}
