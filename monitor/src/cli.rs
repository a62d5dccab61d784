//! The command line.

mod args;
mod moment;
#[cfg(test)]
mod tests;
mod values;

use clap::{Parser, Subcommand};
use clap_complete::Shell;

pub use self::args::{
    CheckArgs, ConfigArgs, ConfigCommand, DoctorArgs, EventFilterArgs, EventsArgs, EventsCommand,
    ExplainArgs, ExportArgs, IdentifyArgs, LearnArgs, ProgressArgs, ReportArgs, ReportFormat,
    RunArgs, SchemaOf, SelftestArgs, TopArgs,
};

/// Watches ports where nothing should be, with eBPF.
#[derive(Debug, Parser)]
#[command(
    name = "ghostport",
    version,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Examples:\n  ghostport run\n  ghostport check\n\nEvery command has --help with examples and exit codes."
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
        after_help = "Examples:\n  ghostport run --interface eth0 --web.listen-address 127.0.0.1:10948\n  ghostport run --config /etc/ghostport/ghostport.yaml --log.format json\n\nExit codes:\n  0  it was ended by SIGTERM or SIGINT\n  1  it cannot do its job; the message says why"
    )]
    Run(RunArgs),
    /// Show the stored history, newest last
    ///
    /// Needs no running agent.
    #[command(
        after_help = "Examples:\n  ghostport events --since 24h --kind awakened\n  ghostport events --since 2026-11-20 --until \"2026-11-21 06:00\" --user www-data --reverse\n  ghostport events --port 2948 --follow --json\n  ghostport events export --format ecs --since 30d\n\nExit codes:\n  0  the history was read, and may be empty\n  2  there is no store, or none that can be read"
    )]
    Events(EventsArgs),
    /// List sockets on watched ports now, without agent and BPF
    ///
    /// Shows the holders and the peers, in every network namespace.
    ///
    /// With --all, every socket of the host that listens, on any port: ! marks those that neither the
    /// baseline of the agent nor listeners.expect has, ? those of which that is not known, * those that can
    /// be reached from elsewhere.
    ///
    /// With --at, what the agent has kept of that time: who held the port, since when and until when, its
    /// state, and what is not known.
    #[command(
        after_help = "Examples:\n  ghostport check 2948 --json\n  ghostport check --all\n  ghostport check 2948 --at \"2026-11-20 03:00\"\n\nExit codes:\n  0  nothing was found, or expected owners alone, and everything was seen\n  1  something was found; with --all, one that is not known to be expected\n  2  nothing was found, but not everything could be seen, or nothing at all"
    )]
    Check(CheckArgs),
    /// Show what this kernel and these privileges allow
    ///
    /// For what they do not allow, it says what to do.
    #[command(
        after_help = "Examples:\n  ghostport doctor\n  ghostport doctor --json\n\nExit codes:\n  0  every hook has its best mechanism\n  1  one is degraded\n  2  the agent cannot work"
    )]
    Doctor(DoctorArgs),
    /// Prove that binds and packets are seen
    ///
    /// Tests the running agent: opens and closes sockets on a watched port, at a loopback address
    /// that the agent chooses, and sends a packet. The agent recognizes them: they are counted for
    /// no port, raise no alert and awaken nothing. It takes root, or a member of the agent's group.
    /// Without an agent, it tests in a private network namespace what an agent would use, as root.
    #[command(
        after_help = "Examples:\n  ghostport selftest\n  ghostport selftest || systemctl status ghostport\n\nExit codes:\n  0  everything was seen\n  1  something was not: it says which hook failed"
    )]
    Selftest(SelftestArgs),
    /// Remove every hook, map and pin of ghostport from the kernel
    #[command(
        after_help = "Examples:\n  ghostport detach\n  systemctl stop ghostport && ghostport detach\n\nExit codes:\n  0  nothing of ghostport is left in the kernel\n  2  something could not be removed"
    )]
    Detach,
    /// Validate or print the configuration
    #[command(
        arg_required_else_help = true,
        after_help = "Examples:\n  ghostport config check --config ghostport.yaml\n  ghostport config show > ghostport.yaml\n\nExit codes:\n  0  the configuration is valid\n  2  it is not, with file, line and column"
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
        after_help = "Examples:\n  ghostport identify --udp --port 2948 --hex 'dc 06 01 ae 02 05 6a 00 45 c6'\n  tcpdump -i any -c 100 -w - port 2948 | ghostport identify -\n\nExit codes:\n  0  it was identified, if as unknown\n  2  it could not be read"
    )]
    Identify(IdentifyArgs),
    /// Show ports, holders, rates and events of a running agent, live
    ///
    /// What most needs a look comes first. The last line shows the keys, ? explains them, q ends it.
    /// Takes a terminal.
    #[command(
        after_help = "Examples:\n  ghostport top\n  ghostport top --url https://gateway-7:10948 --user ops --password-file ~/.ghostport\n\nExit codes:\n  0  it was ended by a key or a signal\n  2  no agent answers, or this is no terminal"
    )]
    Top(TopArgs),
    /// Show what a port is registered for, and likely used for today
    ///
    /// Without PORT, a table of all ports in the catalogue.
    #[command(
        after_help = "Examples:\n  ghostport explain 2948 --sources\n  ghostport explain\n\nExit codes:\n  0  something is known of the port\n  2  nothing is"
    )]
    Explain(ExplainArgs),
    /// Propose expected owners and listeners from what was seen
    ///
    /// Prints entries of `expect` for the watched ports and of `listeners.expect` as YAML, with the
    /// evidence of each as a comment, what was left out and why, and what would still have alerted.
    /// Needs no running agent.
    #[command(
        after_help = "Examples:\n  ghostport learn --since 30d\n  ghostport learn --write /etc/ghostport/ghostport.yaml\n\nExit codes:\n  0  the proposal was printed, or FILE was written\n  2  no store could be read, or FILE is no configuration or cannot be written: it is left as it is"
    )]
    Learn(LearnArgs),
    /// State what is known of a port's use, for its retirement
    ///
    /// From the history by day: covered time and gaps, packets, callers, binds and holders, with what was
    /// left out of consideration. Needs no running agent. With --merge, one statement for many hosts.
    #[command(
        after_help = "Examples:\n  ghostport report 2948 --since 180d\n  ghostport report --merge host1.json host2.json --format markdown\n\nExit codes:\n  0  nothing used the ports, and the time is covered\n  1  something did\n  2  it cannot be said: gaps of more than an hour, or of a hundredth of the time, or no history"
    )]
    Report(ReportArgs),
    /// Print the JSON Schema (2020-12) of what ghostport writes or reads
    #[command(
        after_help = "Examples:\n  ghostport schema event > ghostport-event.json\n  ghostport schema config > /etc/ghostport/schema.json\n\nExit codes:\n  0  always"
    )]
    Schema {
        /// What it describes
        of: SchemaOf,
    },
    /// Print the completions of a shell
    #[command(
        after_help = "Examples:\n  ghostport completions bash > /etc/bash_completion.d/ghostport\n  ghostport completions zsh > ~/.zfunc/_ghostport\n\nExit codes:\n  0  always"
    )]
    Completions {
        /// The shell
        shell: Shell,
    },
}
