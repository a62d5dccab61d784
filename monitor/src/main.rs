//! The binary `ghostport`: parses the command line and runs a command of the library.

use std::process::ExitCode;

use clap::Parser as _;
use ghostport::{
    cli::{Cli, Command},
    commands::{
        check, completions, config, detach, doctor, events, explain, identify, learn, report, run,
        schema, selftest, top,
    },
    terminal::output::{CANNOT_WORK, fail},
};
use monitor_kernel::{capabilities, memory};

fn main() -> ExitCode {
    memory::share_one_heap();
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            let code = runtime.block_on(dispatch(Cli::parse().command));
            // Work on a blocking thread may hang; the end of the process ends it.
            runtime.shutdown_background();
            code
        }
        Err(error) => fail(CANNOT_WORK, &error.into()),
    }
}

async fn dispatch(command: Command) -> ExitCode {
    if needs_no_capability(&command)
        && let Err(error) = capabilities::give_up_those_of_the_file()
    {
        return fail(CANNOT_WORK, &error.into());
    }
    match command {
        Command::Run(args) => run::run(args).await,
        Command::Events(args) => events::run(&args).await,
        Command::Check(args) => check::run(&args).await,
        Command::Doctor(args) => doctor::run(&args).await,
        Command::Selftest(args) => selftest::run(&args).await,
        Command::Detach => detach::run().await,
        Command::Config { command } => config::run(&command),
        Command::Identify(args) => identify::run(&args),
        Command::Top(args) => top::run(&args).await,
        Command::Explain(args) => explain::run(&args),
        Command::Learn(args) => learn::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Schema { of } => schema::run(of),
        Command::Completions { shell } => completions::run(shell),
    }
}

/// Whether a command does without what the file of the program may grant (`setcap`).
const fn needs_no_capability(command: &Command) -> bool {
    matches!(
        command,
        Command::Events(_)
            | Command::Config { .. }
            | Command::Identify(_)
            | Command::Top(_)
            | Command::Explain(_)
            | Command::Learn(_)
            | Command::Report(_)
            | Command::Schema { .. }
            | Command::Completions { .. }
    )
}
