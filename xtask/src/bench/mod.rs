//! `cargo xtask bench`: what the packet path, the agent, seeing binds, one look, the faces, identifying
//! payloads and a fleet cost, what a graph shows at line rate, and what a flood of addresses does.
//!
//! Everything happens in a network and a mount namespace of its own, which end with this process,
//! however it ends: nothing is left to clean up.

use std::{
    env,
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result};

use bpf_toolchain::bpf_target;

use crate::{
    privilege::{as_root, is_root},
    setup::setup,
    workspace::{cargo, succeed, target_dir},
};

mod agent;
mod bind;
mod check;
mod frames;
mod identify;
mod ignored;
mod live;
mod machine;
mod nanoseconds;
mod network;
mod programs;
mod stats;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    subject: Subject,
}

#[derive(clap::Subcommand)]
enum Subject {
    /// The ingress program and the agent: nanoseconds a packet, live throughput, idle cost. Needs
    /// root.
    Xdp(XdpArgs),
    /// A cycle of socket, bind and close without and with each mechanism and bcc's bindsnoop, here
    /// or on other kernels. Needs root.
    Bind(bind::Args),
    /// `ghostport check` beside `ss -lntup` and `lsof -i`, with 2,000 processes and 10,000 sockets
    /// to look at. Needs root.
    Check(check::Args),
    /// A thousand simulated hosts, scraped by one Prometheus: series, load, and how long the overview
    /// waits. Takes six minutes. Needs root.
    Fleet,
    /// What the dashboard's graph shows while ten million packets a second arrive. Takes a minute of
    /// all CPUs. Needs root.
    LineRate,
    /// What ten million forged addresses do to the agent's memory and to what it reports. Takes a
    /// minute of all CPUs. Needs root.
    Flood,
    /// What the live page, `top` and the API take while five ports are busy. Takes a minute and a half.
    /// Needs root, and Chromium for the page.
    Faces,
    /// What it takes to say what a payload is, by kind of payload.
    Identify(identify::Args),
}

#[derive(clap::Args)]
struct XdpArgs {
    /// Only this part.
    #[arg(long)]
    only: Option<Part>,
    /// Rounds of the nanoseconds, each through all programs and packets.
    #[arg(long, default_value_t = 25)]
    rounds: usize,
    /// Packets a measurement of the nanoseconds.
    #[arg(long, default_value_t = 1_000_000)]
    repeat: u32,
    /// Pairs of live measurements, one second each.
    #[arg(long, default_value_t = 10)]
    pairs: usize,
    /// The folder of the BPF objects, to measure others than those of this checkout.
    #[arg(long)]
    objects: Option<PathBuf>,
    /// Set by this command for itself, inside its namespaces.
    #[arg(long, hide = true)]
    inside: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Nanoseconds,
    Live,
    Agent,
}

pub(crate) fn bench(args: &Args) -> Result<ExitCode> {
    match &args.subject {
        Subject::Bind(args) => bind::measure(args),
        Subject::Check(args) => check::measure(args),
        Subject::Faces => ignored::measure_release("agent", "faces::"),
        Subject::Fleet => ignored::measure("dashboards", "fleet::"),
        Subject::Flood => ignored::measure("kernel", "flood::"),
        Subject::LineRate => ignored::measure("kernel", "line_rate::"),
        Subject::Identify(args) => identify::measure(args),
        Subject::Xdp(args) if args.inside => measure(args).map(|()| ExitCode::SUCCESS),
        Subject::Xdp(_) => enter(),
    }
}

/// Builds what is measured and becomes root in namespaces of its own.
fn enter() -> Result<ExitCode> {
    setup(&[])?;
    eprintln!("bench: building the release");
    succeed(cargo().args(["build", "--release", "--package", "monitor"]))?;
    if !is_root()? {
        eprintln!("bench: loading programs into the kernel needs root");
    }
    let mut command = as_root("unshare")?;
    command.args(["--net", "--mount", "--"]).arg(env::current_exe()?);
    command.args(env::args_os().skip(1)).arg("--inside");
    let error = command.exec();
    Err(error).context("cannot start unshare, of util-linux")
}

fn measure(args: &XdpArgs) -> Result<()> {
    let wanted = |part| args.only.is_none_or(|only| only == part);
    succeed(Command::new("ip").args(["link", "set", "lo", "up"]))?;
    println!("{}\n", machine::describe()?);
    let objects = match &args.objects {
        Some(objects) => objects.clone(),
        None => {
            target_dir()?.join("bpf").join(bpf_target(cfg!(target_endian = "big"))).join("release")
        }
    };
    if wanted(Part::Nanoseconds) {
        nanoseconds::measure(&objects, args.rounds, args.repeat)?;
    }
    if wanted(Part::Live) {
        live::measure(&objects, args.pairs)?;
    }
    if wanted(Part::Agent) {
        agent::measure(&target_dir()?.join("release/ghostport"))?;
    }
    Ok(())
}
