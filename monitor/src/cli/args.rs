//! The arguments of each command.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use anyhow::Result;
use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use jiff::Timestamp;

use super::{moment::Moment, values};
use crate::{
    api::{
        SOCKET,
        server::{Access, Server},
    },
    config::{DEFAULT_PATH, HttpUrl, InterfacePattern, Overrides, PortRange, listen},
    event::EventName,
    formats::EventFormat,
    store::Filter,
    terminal::logging::{LogFormat, LogLevel},
};

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
    #[arg(long = "web.config.file", value_name = "FILE", value_parser = values::absolute_path)]
    pub web_config_file: Option<PathBuf>,
    /// Count only this interface, by name or glob, instead of interfaces.include and exclude; may
    /// be given several times
    #[arg(long = "interface", value_name = "INTERFACE")]
    pub interfaces: Vec<InterfacePattern>,
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
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct EventsArgs {
    /// What to do with the events, if not show them.
    #[command(subcommand)]
    pub task: Option<EventsCommand>,
    /// The configuration file, which says where the store is.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Which events.
    #[command(flatten)]
    pub filter: EventFilterArgs,
    /// Newest first
    #[arg(long)]
    pub reverse: bool,
    /// Go on with what comes, until SIGINT; the store is looked at four times a second
    #[arg(long, conflicts_with_all = ["until", "reverse"])]
    pub follow: bool,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
    /// What it says besides.
    #[command(flatten)]
    pub progress: ProgressArgs,
}

/// What else `events` does.
#[derive(Debug, Subcommand)]
pub enum EventsCommand {
    /// Print the stored history in the format of another system, oldest first
    ///
    /// One event a line, as a sink of that format has it.
    #[command(
        after_help = "Examples:\n  ghostport events export --format ecs --since 30d > events.ndjson\n  ghostport events export --format cef --since 2026-11-20 --until 2026-11-21\n\nExit codes:\n  0  the history was read, and may be empty\n  2  there is no store, or none that can be read"
    )]
    Export(ExportArgs),
}

/// Arguments of `events export`.
#[derive(Args, Debug)]
pub struct ExportArgs {
    /// The format of a line
    #[arg(long, value_name = "FORMAT", value_parser = values::event_format())]
    pub format: EventFormat,
    /// The configuration file, which says where the store is.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Which events.
    #[command(flatten)]
    pub filter: EventFilterArgs,
    /// What it says besides.
    #[command(flatten)]
    pub progress: ProgressArgs,
}

/// Which events of the history.
#[derive(Args, Debug)]
pub struct EventFilterArgs {
    /// Only events since WHEN: how long ago, as 24h or 1h30m, or a date or time, as 2026-11-20 or
    /// "2026-11-20 03:00" in this machine's zone
    #[arg(long, value_name = "WHEN", value_parser = Moment::parse)]
    pub since: Option<Moment>,
    /// Only events before WHEN
    #[arg(long, value_name = "WHEN", value_parser = Moment::parse)]
    pub until: Option<Moment>,
    /// Only events about this port, or about one of several, as 9200-9203
    #[arg(long, value_name = "PORT", value_parser = values::port_range)]
    pub port: Option<PortRange>,
    /// Only events of this kind
    #[arg(long, value_name = "KIND", value_parser = values::event_kind())]
    pub kind: Option<EventName>,
    /// Only events about payloads with this verdict, as http
    #[arg(long, value_name = "VERDICT", value_parser = values::verdict)]
    pub verdict: Option<String>,
    /// Only events about the process with this id
    #[arg(long, value_name = "PID")]
    pub pid: Option<u32>,
    /// Only events about processes with this executable, by path or name
    #[arg(long, value_name = "EXE")]
    pub exe: Option<String>,
    /// Only events about processes of this user, by name or id
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,
    /// Only events about this remote address
    #[arg(long, value_name = "ADDRESS")]
    pub peer: Option<IpAddr>,
    /// Only events with this text in their JSON, in upper or lower case
    #[arg(long, value_name = "TEXT")]
    pub grep: Option<String>,
    /// Only the newest N of these events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,
}

/// What a command says besides its output.
#[derive(Args, Debug)]
pub struct ProgressArgs {
    /// Do not say on stderr what takes longer than a second
    #[arg(short, long)]
    pub quiet: bool,
}

/// Arguments of `selftest`.
#[derive(Args, Debug)]
pub struct SelftestArgs {
    /// What it says besides.
    #[command(flatten)]
    pub progress: ProgressArgs,
}

/// Arguments of `check`.
#[derive(Args, Debug)]
pub struct CheckArgs {
    /// The ports to look at, as 2948 or 9200-9203 [default: those of the configuration]
    #[arg(value_name = "PORT", value_parser = values::port_range)]
    pub ports: Vec<PortRange>,
    /// Look at every socket of the host that listens, on any port
    #[arg(long, conflicts_with_all = ["ports", "nagios"])]
    pub all: bool,
    /// Look at the history, as it was at WHEN: how long ago, as 3h, or a date or time, as
    /// "2026-11-20 03:00" in this machine's zone
    #[arg(long, value_name = "WHEN", value_parser = Moment::parse, conflicts_with_all = ["all", "nagios"])]
    pub at: Option<Moment>,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
    /// Print the line of a monitoring plugin, and exit with its codes: 0, 1 (connections elsewhere, and
    /// what no process holds any more), 2 (an unexpected holder) or 3 (not everything was seen)
    #[arg(long, conflicts_with = "json")]
    pub nagios: bool,
    /// The configuration file.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// What it says besides.
    #[command(flatten)]
    pub progress: ProgressArgs,
}

/// What `schema` describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SchemaOf {
    /// One line of `events --json`, and of the sinks
    Event,
    /// The document of `check --json`
    Check,
    /// The configuration file
    Config,
    /// The document of `report --format json`
    Report,
}

/// Arguments of `report`.
#[derive(Args, Debug)]
pub struct ReportArgs {
    /// The ports to report, as 2948 or 9200-9203 [default: those of the configuration, with --merge all]
    #[arg(value_name = "PORT", value_parser = values::port_range)]
    pub ports: Vec<PortRange>,
    /// Since WHEN: how long ago, as 180d, or a date or time [default: 180d]
    #[arg(long, value_name = "WHEN", value_parser = Moment::parse, conflicts_with = "merge")]
    pub since: Option<Moment>,
    /// As text, as Markdown for a ticket, or as one JSON document
    #[arg(long, value_name = "FORMAT", default_value_t, value_enum)]
    pub format: ReportFormat,
    /// Make one statement of those in these files, which --format json has written on several hosts
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub merge: Vec<PathBuf>,
    /// The configuration file, which says where the store is.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// How `report` writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// For a terminal
    #[default]
    Text,
    /// For a ticket
    Markdown,
    /// For programs, and --merge
    Json,
}

/// How far back is looked by default.
const DEFAULT_REPORT: Duration = Duration::from_secs(180 * 86_400);

impl ReportArgs {
    /// The ports in ascending order, each once; `None` if none are named.
    pub fn ports(&self) -> Option<Vec<u16>> {
        each_once(&self.ports)
    }

    /// Begin of the time at the time `now`.
    pub fn since(&self, now: Timestamp) -> Timestamp {
        self.since.unwrap_or(Moment::Ago(DEFAULT_REPORT)).before(now)
    }
}

/// The ports of ranges in ascending order, each once; `None` if there are none.
fn each_once(ranges: &[PortRange]) -> Option<Vec<u16>> {
    let ports: BTreeSet<u16> = ranges.iter().flat_map(|range| range.ports()).collect();
    (!ports.is_empty()).then(|| ports.into_iter().collect())
}

/// Arguments of `top`.
#[derive(Args, Debug)]
pub struct TopArgs {
    /// Ask the agent behind this Unix socket
    #[arg(long, value_name = "PATH", help = format!("Ask the agent behind this Unix socket [default: {SOCKET}]"))]
    pub socket: Option<PathBuf>,
    /// Ask the agent at this address, of another host for instance
    #[arg(long, value_name = "URL", conflicts_with = "socket")]
    pub url: Option<HttpUrl>,
    /// Authenticate as this user
    #[arg(long, value_name = "NAME", requires = "url")]
    pub user: Option<String>,
    /// Read the password from the first line of FILE
    #[arg(long, value_name = "FILE", requires = "user")]
    pub password_file: Option<PathBuf>,
    /// Trust the certificates of FILE, instead of the authorities of this host
    #[arg(long, value_name = "FILE", requires = "url")]
    pub ca_file: Option<PathBuf>,
    /// Authenticate with the certificate of FILE
    #[arg(long, value_name = "FILE", requires = "url")]
    pub cert_file: Option<PathBuf>,
    /// Read its key from FILE, instead of from the file of the certificate
    #[arg(long, value_name = "FILE", requires = "cert_file")]
    pub key_file: Option<PathBuf>,
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
    /// What it says besides.
    #[command(flatten)]
    pub progress: ProgressArgs,
}

/// Arguments of `identify`.
#[derive(Args, Debug)]
#[command(group(ArgGroup::new("source").required(true)))]
pub struct IdentifyArgs {
    /// It came by UDP; of a capture, show only what did
    #[arg(long, conflicts_with = "tcp")]
    pub udp: bool,
    /// It came by TCP; of a capture, show only what did
    #[arg(long)]
    pub tcp: bool,
    /// It went to port P; of a capture, show only what went there or came from there
    #[arg(long, value_name = "P", value_parser = values::port)]
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
    /// What it says besides.
    #[command(flatten)]
    pub progress: ProgressArgs,
}

/// Arguments of `explain`.
#[derive(Args, Debug)]
pub struct ExplainArgs {
    /// The port
    #[arg(value_name = "PORT", value_parser = values::port)]
    pub port: Option<u16>,
    /// Say where the facts are from
    #[arg(long)]
    pub sources: bool,
}

/// Arguments of `learn`.
#[derive(Args, Debug)]
pub struct LearnArgs {
    /// Look at the last DURATION [default: 30d]
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    pub since: Option<Duration>,
    /// Merge the entries into FILE, and keep its comments and its order
    #[arg(long, value_name = "FILE")]
    pub write: Option<PathBuf>,
    /// The configuration file, which says where the store is.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// What it says besides.
    #[command(flatten)]
    pub progress: ProgressArgs,
}

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Validate the configuration; exits with 2 and names file, line and column of an error
    #[command(
        after_help = "Examples:\n  ghostport config check --config ghostport.yaml\n  ghostport config check && systemctl reload ghostport\n\nExit codes:\n  0  it is valid\n  2  it is not, with file, line and column"
    )]
    Check(ConfigArgs),
    /// Print the effective configuration with every key
    #[command(
        after_help = "Examples:\n  ghostport config show > ghostport.yaml\n  ghostport config show --config ghostport.yaml\n\nExit codes:\n  0  it was printed\n  2  it is not valid"
    )]
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
        each_once(&self.ports)
    }
}

impl RunArgs {
    /// The settings that take precedence over the configuration file.
    pub fn overrides(&self) -> Overrides {
        Overrides {
            web_listen: self.listen_addresses.clone(),
            web_config_file: self.web_config_file.clone(),
            interfaces: self.interfaces.clone(),
        }
    }
}

impl TopArgs {
    /// The agent to ask.
    ///
    /// # Errors
    /// A file cannot be read, or is not what it should be.
    pub fn server(&self) -> Result<Server> {
        let Some(url) = &self.url else {
            return Ok(self.socket.clone().map_or_else(Server::default, Server::of_socket));
        };
        let access = Access {
            user: self.user.clone(),
            password_file: self.password_file.clone(),
            authorities: self.ca_file.clone(),
            certificate: self.cert_file.clone(),
            key: self.key_file.clone(),
        };
        Server::of_url(url, &access)
    }
}

impl EventFilterArgs {
    /// The filter that the arguments mean at the time `now`.
    pub fn filter(&self, now: Timestamp) -> Filter {
        Filter {
            since: self.since.map(|since| since.before(now)),
            until: self.until.map(|until| until.before(now)),
            port: self.port,
            kind: self.kind,
            verdict: self.verdict.clone(),
            process: self.pid,
            executable: self.exe.clone(),
            user: self.user.clone(),
            peer: self.peer,
            text: self.grep.clone(),
            limit: self.limit,
        }
    }
}
