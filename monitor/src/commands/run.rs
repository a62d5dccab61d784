//! `ghostport run`: the agent.

use std::process::ExitCode;

use crate::{
    agent,
    cli::RunArgs,
    metrics::BuildInfo,
    terminal::{
        logging,
        output::{CANNOT_WORK, fail},
    },
};

/// Runs the agent until a signal ends it.
pub async fn run(args: RunArgs) -> ExitCode {
    if let Err(error) = logging::init(args.log_level, args.log_format) {
        return fail(CANNOT_WORK, &error.into());
    }
    let options = agent::Options {
        overrides: args.overrides(),
        config_path: args.config.path,
        keep_attached: args.keep_attached,
        log_level: args.log_level,
        build: build_info(),
    };
    match agent::run(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(CANNOT_WORK, &error),
    }
}

fn build_info() -> BuildInfo {
    BuildInfo {
        version: env!("CARGO_PKG_VERSION"),
        revision: env!("GHOSTPORT_REVISION"),
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
    }
}
