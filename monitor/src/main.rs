//! ghostport: see the library.

#![forbid(unsafe_code)]

use std::{
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

use anyhow::Context as _;
use clap::Parser as _;
use ghostport::{
    agent,
    cli::{
        self, CheckArgs, Cli, Command, ConfigArgs, ConfigCommand, DoctorArgs, EventsArgs,
        ExplainArgs, IdentifyArgs, LogFormat, LogLevel, RunArgs,
    },
    commands::{
        check, doctor::Report, events, explain as explanation, identify as identification,
        selftest, top,
    },
    config::{Config, Overrides, WebFile},
    metrics::BuildInfo,
    terminal::{logging, message::message},
};
use jiff::Timestamp;
use monitor_kernel::{self as kernel, interfaces::Interfaces, memory};

/// Exit codes of the contract beside success.
const CANNOT_WORK: u8 = 1;
const CANNOT_LOOK: u8 = 2;

fn main() -> ExitCode {
    memory::share_one_heap();
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(dispatch()),
        Err(error) => fail(CANNOT_WORK, &error.into()),
    }
}

async fn dispatch() -> ExitCode {
    match Cli::parse().command {
        Command::Run(args) => run(&args).await,
        Command::Events(args) => events(&args).await,
        Command::Check(args) => check(&args).await,
        Command::Doctor(args) => doctor(&args).await,
        Command::Selftest => selftest(),
        Command::Detach => detach().await,
        Command::Config { command } => config(&command),
        Command::Identify(args) => identify(&args),
        Command::Explain(args) => explain(&args),
        Command::Top => top().await,
        Command::Completions { shell } => print(&cli::completions(shell)),
    }
}

async fn run(args: &RunArgs) -> ExitCode {
    if let Err(error) = logging::init(args.log_level, args.log_format) {
        return fail(CANNOT_WORK, &error.into());
    }
    match agent::run(args, build_info()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(CANNOT_WORK, &error),
    }
}

async fn events(args: &EventsArgs) -> ExitCode {
    match events::run(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(CANNOT_LOOK, &error),
    }
}

async fn check(args: &CheckArgs) -> ExitCode {
    let looked = async {
        let ports = match args.ports() {
            Some(ports) => ports,
            None => {
                let config = Config::load(args.config.path.as_deref(), &Overrides::default())?;
                config.port_numbers().collect()
            }
        };
        check::look(&ports, check::ask_agent().await).context("cannot look")
    };
    let report = match looked.await {
        Ok(report) => report,
        Err(error) => return fail(CANNOT_LOOK, &error),
    };
    for warning in report.warnings() {
        eprintln!("ghostport: {warning}");
    }
    let page = if args.json {
        serde_json::to_string_pretty(&report).map(|json| json + "\n").unwrap_or_default()
    } else {
        report.to_text(logging::colour_is_wanted(&io::stdout()))
    };
    let printed = print(page.as_bytes());
    if printed == ExitCode::SUCCESS { report.verdict().into() } else { printed }
}

async fn doctor(args: &DoctorArgs) -> ExitCode {
    let _ = logging::init(LogLevel::Error, LogFormat::Text);
    let report = async {
        let config = Config::load(args.config.path.as_deref(), &Overrides::default())?;
        Report::make(&config).await
    };
    let report = match report.await {
        Ok(report) => report,
        Err(error) => return fail(CANNOT_LOOK, &error),
    };
    let page = if args.json {
        serde_json::to_string_pretty(&report).map(|json| json + "\n").unwrap_or_default()
    } else {
        report.to_text(logging::colour_is_wanted(&io::stdout()))
    };
    print(page.as_bytes());
    report.verdict().into()
}

fn selftest() -> ExitCode {
    let _ = logging::init(LogLevel::Error, LogFormat::Text);
    let config = Config::load(None, &Overrides::default()).map_err(anyhow::Error::from);
    let proof = config.and_then(|config| selftest::run(&config));
    let outcome = selftest::Outcome::new(proof.is_ok(), Timestamp::now());
    // Who has failed is told that, and nothing else.
    if let Err(error) = outcome.write(Path::new(selftest::FOLDER))
        && proof.is_ok()
    {
        eprintln!(
            "ghostport: the agent's metrics will not tell of it: {}: {error}",
            selftest::FOLDER
        );
    }
    match proof {
        Ok(words) => print(words.as_bytes()),
        Err(error) => fail(CANNOT_WORK, &error),
    }
}

async fn detach() -> ExitCode {
    let _ = logging::init(LogLevel::Warn, LogFormat::Text);
    let detached = async {
        let netlink = Interfaces::connect()?;
        kernel::detach_everything(&netlink).await
    };
    match detached.await {
        Ok(true) => print(b"every hook, map and pin of ghostport is removed\n"),
        Ok(false) => print(b"nothing of ghostport is in this kernel\n"),
        Err(error) => fail(CANNOT_LOOK, &error),
    }
}

fn config(command: &ConfigCommand) -> ExitCode {
    let load = |args: &ConfigArgs| Config::load(args.path.as_deref(), &Overrides::default());
    let (args, show) = match command {
        ConfigCommand::Check(args) => (args, false),
        ConfigCommand::Show(args) => (args, true),
    };
    let check_web_file = |config: Config| {
        config.web_config_file.as_deref().map(WebFile::load).transpose()?;
        Ok(config)
    };
    match load(args).and_then(check_web_file) {
        Ok(config) if show => print(config.to_string().as_bytes()),
        Ok(_) => print(b"the configuration is valid\n"),
        Err(error) => fail(CANNOT_LOOK, &error.into()),
    }
}

fn identify(args: &IdentifyArgs) -> ExitCode {
    let mut stdout = io::BufWriter::new(io::stdout().lock());
    match identification::examine(&args.request(), &mut stdout) {
        Err(error) if !is_gone(&error) => fail(CANNOT_LOOK, &error),
        _ => ExitCode::SUCCESS,
    }
}

/// Whether the reader of our output has gone away.
fn is_gone(error: &anyhow::Error) -> bool {
    let kind = error.root_cause().downcast_ref().map(io::Error::kind);
    kind == Some(io::ErrorKind::BrokenPipe)
}

fn explain(args: &ExplainArgs) -> ExitCode {
    let page = match args.port {
        Some(port) => explanation::explain(port, args.sources),
        None => Some(explanation::table(args.sources)),
    };
    match (page, args.port) {
        (Some(page), _) => print(page.as_bytes()),
        (None, port) => {
            let port = port.unwrap_or_default();
            fail(
                CANNOT_LOOK,
                &anyhow::anyhow!(
                    "nothing is known of port {port}: IANA registered no service for it"
                ),
            )
        }
    }
}

async fn top() -> ExitCode {
    match top::run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(CANNOT_LOOK, &error),
    }
}

fn build_info() -> BuildInfo {
    BuildInfo {
        version: env!("CARGO_PKG_VERSION"),
        revision: env!("GHOSTPORT_REVISION"),
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
    }
}

/// Prints an answer. A reader that has gone away wants no more of it.
fn print(answer: &[u8]) -> ExitCode {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(answer).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => fail(CANNOT_LOOK, &error.into()),
        _ => ExitCode::SUCCESS,
    }
}

/// One message that says what is wrong and what led to it.
fn fail(code: u8, error: &anyhow::Error) -> ExitCode {
    eprintln!("ghostport: {}", message(error));
    ExitCode::from(code)
}
