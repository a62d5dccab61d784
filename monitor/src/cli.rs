//! The command line.

use std::{collections::BTreeSet, net::SocketAddr, num::NonZeroU16, path::PathBuf, time::Duration};

use clap::{
    ArgGroup, Args, Parser, Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
};
use clap_complete::Shell;
use jiff::Timestamp;

use crate::{
    config::{DEFAULT_PATH, Overrides, Pattern, listen, quantity},
    event::EventName,
    store::Filter,
    terminal::logging::{LogFormat, LogLevel},
};

/// Watches ports where nothing should be, with eBPF.
#[derive(Debug, Parser)]
#[command(
    name = "ghostport",
    version,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Example:\n  ghostport run"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the agent: count packets, trace binds and serve /metrics
    ///
    /// It runs until SIGTERM or SIGINT.
    #[command(
        after_help = "Example:\n  ghostport run --interface eth0 --web.listen-address 127.0.0.1:10948"
    )]
    Run(RunArgs),
    /// Show the stored history, newest last
    ///
    /// Needs no running agent. Exits with 2 when there is no store, or none that can be read.
    #[command(after_help = "Example:\n  ghostport events --since 24h --kind awakened")]
    Events(EventsArgs),
    /// Look once, without agent and BPF, which sockets are on a watched port now
    ///
    /// Shows the holders and the peers, in every network namespace.
    ///
    /// Exits with 0 when nothing was found and everything was seen, with 1 when something was
    /// found, with 2 when nothing was found but not everything could be seen, or nothing at all.
    #[command(after_help = "Example:\n  ghostport check 2948 --json")]
    Check(CheckArgs),
    /// Show what this kernel and these privileges allow
    ///
    /// For what they do not allow, it says what to do.
    ///
    /// Exits with 0 when every hook has its best mechanism, with 1 when one is degraded, with 2
    /// when the agent cannot work.
    #[command(after_help = "Example:\n  ghostport doctor --json")]
    Doctor(DoctorArgs),
    /// Prove that binds and packets are seen
    ///
    /// Binds and sends a packet in a private network namespace.
    ///
    /// Exits with 0 when they were, with 1 when they were not. Takes root.
    #[command(after_help = "Example:\n  ghostport selftest")]
    Selftest,
    /// Remove every hook, map and pin of ghostport from the kernel
    #[command(after_help = "Example:\n  ghostport detach")]
    Detach,
    /// Validate or print the configuration
    #[command(
        arg_required_else_help = true,
        after_help = "Example:\n  ghostport config check --config ghostport.yaml"
    )]
    Config {
        /// What to do with the configuration.
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Say what a payload or a capture really is, with the reason
    ///
    /// FILE is a pcap or pcapng capture, of which every conversation is identified; - reads a payload's
    /// bytes or a capture from standard input.
    #[command(
        after_help = "Example:\n  ghostport identify --udp --port 2948 --hex 'dc 06 01 ae 02 05 6a 00 45 c6'"
    )]
    Identify(IdentifyArgs),
    /// Show ports, holders, rates and events of the running agent, live
    ///
    /// Takes a terminal and a running agent. The last line shows the keys; q ends it.
    #[command(after_help = "Example:\n  ghostport top")]
    Top,
    /// Show what a port is registered for, and likely used for today
    ///
    /// Without PORT, a table of all ports in the catalogue.
    #[command(after_help = "Example:\n  ghostport explain 2948 --sources")]
    Explain(ExplainArgs),
    /// Print the completions of a shell
    #[command(
        after_help = "Example:\n  ghostport completions bash > /etc/bash_completion.d/ghostport"
    )]
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Arguments of `run`.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// The configuration file.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Serve on ADDRESS instead of web.listen; may be given several times
    #[arg(long = "web.listen-address", value_name = "ADDRESS", value_parser = listen::parse)]
    pub listen_addresses: Vec<SocketAddr>,
    /// Take TLS and passwords of the server from FILE instead of web.config_file
    #[arg(long = "web.config.file", value_name = "FILE", value_parser = absolute_path)]
    pub web_config_file: Option<PathBuf>,
    /// Count only this interface, by name or glob, instead of interfaces.include and exclude; may
    /// be given several times
    #[arg(long = "interface", value_name = "INTERFACE")]
    pub interfaces: Vec<Pattern>,
    /// Leave the hooks attached and counting when the agent stops
    #[arg(long)]
    pub keep_attached: bool,
    /// How much is logged to stderr
    #[arg(long = "log.level", value_name = "LEVEL", default_value_t, value_enum)]
    pub log_level: LogLevel,
    /// How it is logged
    #[arg(long = "log.format", value_name = "FORMAT", default_value_t, value_enum)]
    pub log_format: LogFormat,
}

/// Arguments of `events`.
#[derive(Args, Debug)]
pub struct EventsArgs {
    /// The configuration file, which says where the store is.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Only events of the last DURATION, as 24h or 1h30m
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub since: Option<Duration>,
    /// Only events about this port
    #[arg(long, value_name = "PORT", value_parser = port)]
    pub port: Option<u16>,
    /// Only events of this kind
    #[arg(long, value_name = "KIND", value_parser = event_kind())]
    pub kind: Option<EventName>,
    /// Go on with what comes, until SIGINT; the store is looked at four times a second
    #[arg(long)]
    pub follow: bool,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `check`.
#[derive(Args, Debug)]
pub struct CheckArgs {
    /// The ports to look at [default: those of the configuration]
    #[arg(value_name = "PORT", value_parser = port)]
    pub ports: Vec<u16>,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
    /// The configuration file.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// Arguments of `doctor`.
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
    /// The configuration file.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// Arguments of `identify`.
#[derive(Args, Debug)]
#[command(group(ArgGroup::new("source").required(true)))]
pub struct IdentifyArgs {
    /// It came by UDP; of a capture, tell only what did
    #[arg(long, conflicts_with = "tcp")]
    pub udp: bool,
    /// It came by TCP; of a capture, tell only what did
    #[arg(long)]
    pub tcp: bool,
    /// It went to port P; of a capture, tell only what went there or came from there
    #[arg(long, value_name = "P", value_parser = port)]
    pub port: Option<u16>,
    /// Print one JSON object, of a capture one a line
    #[arg(long)]
    pub json: bool,
    /// The payload in hexadecimal digits; blanks, colons and 0x do not matter
    #[arg(long, value_name = "STRING", allow_hyphen_values = true, group = "source")]
    pub hex: Option<String>,
    /// A capture, or - for standard input
    #[arg(value_name = "FILE", group = "source")]
    pub file: Option<PathBuf>,
}

/// Arguments of `explain`.
#[derive(Args, Debug)]
pub struct ExplainArgs {
    /// The port
    #[arg(value_name = "PORT", value_parser = port)]
    pub port: Option<u16>,
    /// Say where the facts are from
    #[arg(long)]
    pub sources: bool,
}

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Validate the configuration; exits with 2 and names file, line and column of an error
    #[command(after_help = "Example:\n  ghostport config check --config ghostport.yaml")]
    Check(ConfigArgs),
    /// Print the effective configuration with every key
    #[command(after_help = "Example:\n  ghostport config show > ghostport.yaml")]
    Show(ConfigArgs),
}

/// Which configuration file is read.
#[derive(Args, Debug)]
pub struct ConfigArgs {
    /// Read FILE
    #[arg(long = "config", value_name = "FILE", help = format!("Read FILE [default: {DEFAULT_PATH}, if it exists]"))]
    pub path: Option<PathBuf>,
}

impl CheckArgs {
    /// The ports to look at in ascending order, each once; `None` for those of the configuration.
    pub fn ports(&self) -> Option<Vec<u16>> {
        let ports: BTreeSet<u16> = self.ports.iter().copied().collect();
        (!ports.is_empty()).then(|| ports.into_iter().collect())
    }
}

impl RunArgs {
    /// What the arguments say instead of the configuration file.
    pub fn overrides(&self) -> Overrides {
        Overrides {
            web_listen: self.listen_addresses.clone(),
            web_config_file: self.web_config_file.clone(),
            interfaces: self.interfaces.clone(),
        }
    }
}

impl EventsArgs {
    /// What is asked for at the time `now`.
    pub fn filter(&self, now: Timestamp) -> Filter {
        let since = self.since.map(|since| now.checked_sub(since).unwrap_or(Timestamp::MIN));
        Filter { since, port: self.port, kind: self.kind, limit: None }
    }
}

fn port(text: &str) -> Result<u16, String> {
    let port = text.parse().map(NonZeroU16::get);
    port.map_err(|_| "expected a port from 1 to 65535".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    quantity::parse_duration(text).ok_or_else(|| format!("expected {}", quantity::DURATION))
}

/// The absolute path: a reload reads the file again, and the working directory may be another then.
fn absolute_path(text: &str) -> Result<PathBuf, String> {
    std::path::absolute(text).map_err(|error| error.to_string())
}

fn event_kind() -> impl TypedValueParser<Value = EventName> {
    PossibleValuesParser::new(EventName::ALL.map(EventName::kind))
        .try_map(|kind| EventName::from_kind(&kind).ok_or("no such kind"))
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, error::ErrorKind};

    use super::*;

    fn parse(args: &str) -> Result<Command, clap::Error> {
        Cli::try_parse_from(args.split_whitespace()).map(|cli| cli.command)
    }

    #[test]
    fn definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn run_takes_what_the_contract_says() {
        let command = parse(
            "ghostport run --config f.yaml --web.listen-address 127.0.0.1:1 \
             --web.listen-address [::1]:2 --interface eth* --interface lo --keep-attached \
             --log.level debug --log.format json",
        );
        let Ok(Command::Run(run)) = command else { panic!("{command:?}") };
        assert_eq!(run.config.path, Some("f.yaml".into()));
        assert_eq!(run.overrides().web_listen.len(), 2);
        assert!(run.overrides().interfaces[0].matches("eth7"));
        assert!(run.keep_attached);
        assert_eq!(run.log_level, LogLevel::Debug);
        assert_eq!(run.log_format, LogFormat::Json);
    }

    #[test]
    fn run_needs_nothing() {
        let Ok(Command::Run(run)) = parse("ghostport run") else { panic!("no run") };
        assert_eq!(run.overrides(), Overrides::default());
        assert_eq!(run.log_level, LogLevel::Info);
        assert_eq!(run.log_format, LogFormat::Text);
    }

    #[test]
    fn events_take_what_the_contract_says() {
        let args = "ghostport events --since 24h --port 2948 --kind bind_failed --follow --json";
        let Ok(Command::Events(events)) = parse(args) else { panic!("no events") };
        assert!(events.follow && events.json);
        let now = Timestamp::from_second(86_400).expect("a time");
        let filter = Filter {
            since: Some(Timestamp::UNIX_EPOCH),
            port: Some(2948),
            kind: Some(EventName::BindFailed),
            limit: None,
        };
        assert_eq!(events.filter(now), filter);
        let Ok(Command::Events(events)) = parse("ghostport events") else { panic!("no events") };
        assert_eq!(events.filter(now), Filter::default());
    }

    #[test]
    fn check_takes_ports_or_none() {
        let Ok(Command::Check(check)) = parse("ghostport check 2949 2948 2949 --json") else {
            panic!("no check")
        };
        assert_eq!((check.ports(), check.json), (Some(vec![2948, 2949]), true));
        let Ok(Command::Check(check)) = parse("ghostport check --config f.yaml") else {
            panic!("no check")
        };
        assert_eq!((check.ports(), check.config.path), (None, Some("f.yaml".into())));
    }

    #[test]
    fn what_is_wrong_exits_with_2() {
        for args in [
            "ghostport",
            "ghostport check 0",
            "ghostport check 65536",
            "ghostport check wap-push",
            "ghostport fly",
            "ghostport run --web.listen-address localhost",
            "ghostport run --interface eth[",
            "ghostport run --log.level loud",
            "ghostport config",
            "ghostport completions cobol",
            "ghostport events --kind birth",
            "ghostport events --since 24",
            "ghostport events --port 65536",
            "ghostport identify",
            "ghostport identify --udp --tcp -",
            "ghostport identify --port 65536 -",
            "ghostport identify --hex 00 capture.pcap",
            "ghostport explain wap-push",
        ] {
            assert_eq!(parse(args).expect_err(args).exit_code(), 2, "{args}");
        }
    }

    #[test]
    fn identify_says_that_it_takes_digits_as_well() {
        for args in ["ghostport identify", "ghostport identify --help"] {
            let text = parse(args).expect_err(args).to_string();
            let usage = text.lines().find(|line| line.starts_with("Usage:")).expect("a usage");
            assert!(usage.contains("--hex <STRING>") && usage.contains("FILE"), "{usage}");
        }
    }

    #[test]
    fn a_port_that_is_none_is_told_what_one_is() {
        for args in ["explain abc", "explain 0", "check 65536", "events --port x"] {
            let error = parse(&format!("ghostport {args}")).expect_err(args).to_string();
            assert!(error.contains("expected a port from 1 to 65535"), "{error}");
        }
    }

    #[test]
    fn the_list_of_commands_fits_a_terminal() {
        let help = parse("ghostport --help").expect_err("help").to_string();
        assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
    }

    #[test]
    fn every_help_ends_with_an_example() {
        let commands = [
            "",
            "run",
            "events",
            "check",
            "doctor",
            "selftest",
            "detach",
            "config",
            "config check",
            "config show",
            "identify",
            "explain",
            "top",
            "completions",
        ];
        for command in commands {
            for flag in ["-h", "--help"] {
                let args = format!("ghostport {command} {flag}");
                let help = parse(&args).expect_err("help");
                assert_eq!(help.kind(), ErrorKind::DisplayHelp);
                let help = help.to_string();
                let example = help.trim_end().rsplit("\n\n").next().unwrap_or_default();
                assert!(example.starts_with("Example:\n  ghostport"), "{args}: {help}");
            }
        }
    }
}
