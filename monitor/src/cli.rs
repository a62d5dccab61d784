//! The command line.

mod args;
mod moment;
#[cfg(test)]
mod tests;
mod values;

use clap::{Parser, Subcommand};
use clap_complete::Shell;

pub use self::args::{
    CheckArgs, ConfigArgs, ConfigCommand, DoctorArgs, EventsArgs, ExplainArgs, IdentifyArgs,
    LearnArgs, RunArgs, SchemaOf,
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
    #[command(
        after_help = "Examples:\n  ghostport events --since 24h --kind awakened\n  ghostport events --since 2026-11-20 --until \"2026-11-21 06:00\" --user www-data --reverse"
    )]
    Events(EventsArgs),
    /// List sockets on watched ports now, without agent and BPF
    ///
    /// Shows the holders and the peers, in every network namespace.
    ///
    /// Exits with 0 when nothing was found and everything was seen, with 1 when something was
    /// found, with 2 when nothing was found but not everything could be seen, or nothing at all.
    ///
    /// With --all, every socket of the host that listens, on any port: ! marks those that neither the
    /// baseline of the agent nor listeners.expect has, ? those of which that is not known, * those that can
    /// be reached from elsewhere. Exits with 0 when all are expected and everything was seen, with 1 when
    /// one is not known to be expected, with 2 when it could not look, or could not see everything.
    #[command(after_help = "Example:\n  ghostport check 2948 --json\n  ghostport check --all")]
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
    /// Tests the running agent: opens and closes sockets on a watched port, at a loopback address
    /// that the agent chooses, and sends a packet. The agent recognizes them: they are counted for
    /// no port, raise no alert and awaken nothing. It takes root, or a member of the agent's group.
    /// Without an agent, it tests in a private network namespace what an agent would use, as root.
    ///
    /// Exits with 0 when everything was seen, with 1 when something was not, and says which hook
    /// failed.
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
    /// Propose expected owners and listeners from what was seen
    ///
    /// Prints entries of `expect` for the watched ports and of `listeners.expect` as YAML, with the
    /// evidence of each as a comment, what was left out and why, and what would still have alerted.
    /// Needs no running agent.
    ///
    /// Exits with 2 when there is no store, or none that can be read, and when FILE is no configuration
    /// or cannot be written; it is left as it is then.
    #[command(
        after_help = "Example:\n  ghostport learn --since 30d\n  ghostport learn --write /etc/ghostport/ghostport.yaml"
    )]
    Learn(LearnArgs),
    /// Print the JSON Schema (2020-12) of what ghostport writes or reads
    #[command(
        after_help = "Examples:\n  ghostport schema event > ghostport-event.json\n  ghostport schema config > /etc/ghostport/schema.json"
    )]
    Schema {
        /// What it describes
        of: SchemaOf,
    },
    /// Print the completions of a shell
    #[command(
        after_help = "Example:\n  ghostport completions bash > /etc/bash_completion.d/ghostport"
    )]
    Completions {
        /// The shell
        shell: Shell,
    },
}
