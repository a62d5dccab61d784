//! What the agent costs while nothing happens, and how soon it works.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::stats::{Table, median};
use crate::workspace::succeed;

const STARTS: usize = 7;
const SCRAPES: usize = 200;
const IDLE: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_secs(10);

const LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 10948);

pub(super) fn measure(binary: &Path) -> Result<()> {
    prepare()?;
    let mut ready = Vec::new();
    for start in 0..STARTS {
        eprint!("\rbench: agent, start {} of {STARTS}", start + 1);
        let (agent, milliseconds) = Agent::start(binary)?;
        ready.push(milliseconds);
        agent.stop()?;
    }
    eprint!("\rbench: agent, idle for {} s", IDLE.as_secs());
    let (agent, _) = Agent::start(binary)?;
    let mut scrapes = Vec::new();
    for _ in 0..SCRAPES {
        let start = Instant::now();
        let (status, page) = get("/metrics")?;
        scrapes.push(start.elapsed().as_secs_f64() * 1e3);
        ensure!(status == 200 && page.contains("\nghostport_"), "/metrics answers {status}");
    }
    let before = agent.cpu_time()?;
    let start = Instant::now();
    thread::sleep(IDLE);
    let used = agent.cpu_time()?.saturating_sub(before);
    let idle = used.as_secs_f64() / start.elapsed().as_secs_f64();
    let resident = agent.resident_kib()?;
    agent.stop()?;
    eprintln!();
    let mut table = Table::new(&["agent, 5 ports, lo", "measured", "target"]);
    let mut row = |name: &str, value: String, target: &str| {
        table.row([name.to_owned(), value, target.to_owned()]);
    };
    row("idle, of a core", format!("{:.3} %", idle * 100.0), "< 0.1 %");
    row("resident", format!("{:.1} MiB", resident as f64 / 1024.0), "< 16 MiB");
    row("exec to ready", format!("{:.0} ms", median(&ready)), "< 300 ms");
    row("scrape", format!("{:.2} ms", median(&scrapes)), "< 2 ms");
    table.print(&format!(
        "The agent (idle over {} s; medians of {STARTS} starts and {SCRAPES} scrapes, each a \
         connection of its own)",
        IDLE.as_secs()
    ));
    Ok(())
}

/// What an agent finds on a machine, in this mount namespace: a BPF filesystem and tracefs, no pins
/// or lock of another agent.
fn prepare() -> Result<()> {
    let mount =
        |kind: &str, place: &str| succeed(Command::new("mount").args(["-t", kind, kind, place]));
    mount("tmpfs", "/run")?;
    mount("bpf", "/sys/fs/bpf")?;
    if !Path::new("/sys/kernel/tracing/events").exists() {
        mount("tracefs", "/sys/kernel/tracing")?;
    }
    Ok(())
}

/// An agent that is stopped when this goes.
struct Agent(Child);

impl Agent {
    /// Starts it and waits until it is ready. Returns the milliseconds that took.
    fn start(binary: &Path) -> Result<(Self, f64)> {
        // Whatever becomes of this process, the agent does not outlive it.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", "--"]).arg(binary).arg("run");
        command.args(["--config", "/dev/null", "--log.level", "error"]);
        command.arg(format!("--web.listen-address={LISTEN}"));
        let start = Instant::now();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let mut agent = Self(child.context("cannot start setpriv, of util-linux")?);
        while !matches!(get("/readyz"), Ok((200, _))) {
            if let Some(status) = agent.0.try_wait()? {
                bail!("the agent ended with {status}");
            }
            ensure!(start.elapsed() < PATIENCE, "the agent does not become ready");
            thread::sleep(Duration::from_millis(1));
        }
        Ok((agent, start.elapsed().as_secs_f64() * 1e3))
    }

    /// Time on a CPU of all threads it has, as the scheduler counts it: clock ticks are too coarse
    /// for a process that hardly runs.
    fn cpu_time(&self) -> Result<Duration> {
        let mut nanoseconds = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.0.id()))? {
            let schedstat = fs::read_to_string(thread?.path().join("schedstat"))?;
            let time = schedstat.split_ascii_whitespace().next().context("an empty schedstat")?;
            nanoseconds += time.parse::<u64>()?;
        }
        Ok(Duration::from_nanos(nanoseconds))
    }

    fn resident_kib(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok());
        number.context("no VmRSS in /proc/PID/status")
    }

    fn stop(mut self) -> Result<()> {
        self.terminate();
        let status = self.0.wait()?;
        ensure!(status.success(), "the agent ended with {status}");
        Ok(())
    }

    fn terminate(&self) {
        if let Some(pid) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            self.terminate();
            let _ = self.0.wait();
        }
    }
}

/// Status and body of a page of the agent's.
fn get(path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(LISTEN)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {LISTEN}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    Ok((status, body.to_owned()))
}
