//! One look at who holds a port, beside `ss` and `lsof`, on a machine with much to look at.
//!
//! The load lives in network and process namespaces of its own, in which all three look: what else
//! runs on the machine is neither seen nor harmed, and it ends with them, however that happens.

use std::{
    env,
    net::{Ipv4Addr, TcpListener, UdpSocket},
    os::{fd::OwnedFd, unix::process::CommandExt as _},
    process::{Child, Command, ExitCode, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use rustix::io::{FdFlags, fcntl_setfd};

use super::{
    machine,
    network::{FIVE_PORTS, WATCHED},
    stats::{Table, median, quantile},
};
use crate::{
    packages::Need,
    privilege::as_root,
    setup::setup,
    workspace::{cargo, succeed, target_dir},
};

/// Sockets a process: TCP listeners, and as many of UDP as are left.
const SOCKETS: u16 = 5;
const LISTENERS: u16 = 3;

/// The first port of the load.
const FIRST_PORT: u16 = 10_000;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Processes of the load, each of which has five sockets.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    processes: u16,
    /// Rounds, each through all commands.
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    /// Set by this command for itself, inside its namespaces.
    #[arg(long, hide = true)]
    inside: bool,
}

pub(super) fn measure(args: &Args) -> Result<ExitCode> {
    if args.inside { compare(args).map(|()| ExitCode::SUCCESS) } else { enter() }
}

/// Builds what is measured and becomes root in namespaces of its own.
fn enter() -> Result<ExitCode> {
    setup(&[Need::Comparison])?;
    eprintln!("bench: building the release");
    succeed(cargo().args(["build", "--release", "--package", "monitor"]))?;
    let mut command = as_root("unshare")?;
    command.args(["--net", "--mount-proc", "--pid", "--fork", "--kill-child", "--"]);
    command.arg(env::current_exe()?).args(env::args_os().skip(1)).arg("--inside");
    let error = command.exec();
    Err(error).context("cannot start unshare, of util-linux")
}

fn compare(args: &Args) -> Result<()> {
    succeed(Command::new("ip").args(["link", "set", "lo", "up"]))?;
    println!("{}\n", machine::describe()?);
    let binary = target_dir()?.join("release/ghostport");
    let binary = binary.to_str().context("a path that is text")?;
    let _load = Load::start(args.processes)?;
    let ports = FIVE_PORTS.map(|port| port.to_string());
    let check = |more: &[&str]| -> Vec<String> {
        let words = [&[binary, "check"], more].concat();
        words.iter().map(|&word| word.to_owned()).chain(ports.iter().cloned()).collect()
    };
    let all = |more: &[&str]| -> Vec<String> {
        [&[binary, "check", "--all"], more].concat().iter().map(|&word| word.to_owned()).collect()
    };
    let words = |line: &str| line.split(' ').map(str::to_owned).collect();
    let quiet = Subject { name: "ghostport check, quiet", words: check(&[]), codes: &[0] };
    let quiet = quiet.measure(args.rounds)?;
    let _holder = Holder::start(&[
        TcpListener::bind((Ipv4Addr::LOCALHOST, WATCHED))?.into(),
        UdpSocket::bind((Ipv4Addr::LOCALHOST, WATCHED))?.into(),
    ])?;
    let subjects = [
        Subject { name: "ghostport check", words: check(&[]), codes: &[1] },
        Subject { name: "ghostport check --json", words: check(&["--json"]), codes: &[1] },
        Subject { name: "ghostport check --all", words: all(&[]), codes: &[1] },
        Subject { name: "ghostport check --all --json", words: all(&["--json"]), codes: &[1] },
        Subject { name: "ss -lntup", words: words("ss -lntup"), codes: &[0] },
        Subject { name: "lsof -nP -i", words: words("lsof -nP -i"), codes: &[0] },
    ];
    let mut samples = vec![Vec::new(); subjects.len()];
    for round in 0..args.rounds {
        eprint!("\rbench: check, round {} of {}    ", round + 1, args.rounds);
        for (subject, samples) in subjects.iter().zip(&mut samples) {
            samples.push(subject.run()?);
        }
    }
    eprintln!();
    print(args, (quiet, "ghostport check, quiet"), &subjects, &samples);
    Ok(())
}

fn print(
    args: &Args,
    (quiet, quiet_name): (Vec<f64>, &'static str),
    subjects: &[Subject],
    samples: &[Vec<f64>],
) {
    let of_check = median(&samples[0]);
    let mut table = Table::new(&["command", "median", "spread", "of check"]);
    let rows = subjects.iter().map(|subject| subject.name).zip(samples);
    for (name, samples) in rows.chain([(quiet_name, &quiet)]) {
        let spread = quantile(samples, 0.75) - quantile(samples, 0.25);
        table.row([
            name.to_owned(),
            format!("{:.1} ms", median(samples)),
            format!("{spread:.1} ms"),
            format!("{:.2}", median(samples) / of_check),
        ]);
    }
    table.print(&format!(
        "One look at {} processes and {} sockets (medians of {} interleaved rounds)",
        args.processes,
        u32::from(args.processes) * u32::from(SOCKETS),
        args.rounds
    ));
}

/// A command and the exit codes with which it has done its work.
struct Subject {
    name: &'static str,
    words: Vec<String>,
    codes: &'static [i32],
}

impl Subject {
    fn measure(&self, rounds: usize) -> Result<Vec<f64>> {
        (0..rounds).map(|_| self.run()).collect()
    }

    /// Milliseconds of one run.
    fn run(&self) -> Result<f64> {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let start = Instant::now();
        let status = command.status().with_context(|| format!("cannot start {}", self.name))?;
        let milliseconds = start.elapsed().as_secs_f64() * 1e3;
        let is_done = status.code().is_some_and(|code| self.codes.contains(&code));
        ensure!(is_done, "{} ended with {status}", self.name);
        Ok(milliseconds)
    }
}

/// Processes that hold sockets and do nothing, until this is dropped.
struct Load(#[expect(dead_code, reason = "held to be dropped")] Vec<Holder>);

impl Load {
    fn start(processes: u16) -> Result<Self> {
        let start = |index: u16| {
            if index.is_multiple_of(100) {
                eprint!("\rbench: check, starting process {index} of {processes}    ");
            }
            let first = FIRST_PORT + index * SOCKETS;
            let socket = |offset: u16| -> Result<OwnedFd> {
                let address = (Ipv4Addr::LOCALHOST, first + offset);
                Ok(if offset < LISTENERS {
                    TcpListener::bind(address)?.into()
                } else {
                    UdpSocket::bind(address)?.into()
                })
            };
            Holder::start(&(0..SOCKETS).map(socket).collect::<Result<Vec<_>>>()?)
        };
        (0..processes).map(start).collect::<Result<_>>().map(Self)
    }
}

/// A process that inherited sockets.
struct Holder(Child);

impl Holder {
    fn start(sockets: &[OwnedFd]) -> Result<Self> {
        for socket in sockets {
            fcntl_setfd(socket, FdFlags::empty())?;
        }
        let child = Command::new("sleep").arg("1h").stdin(Stdio::null()).spawn();
        Ok(Self(child.context("cannot start sleep")?))
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
