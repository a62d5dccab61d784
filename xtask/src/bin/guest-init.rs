//! The first and only process of a guest of `cargo xtask vm`: does what the script of its
//! filesystem says, reports how the test ended, and switches the machine off.
//!
//! The script has one instruction a line:
//!
//! - `mount KIND AT [OPTIONS]`
//! - `module FILE`
//! - `env NAME VALUE`
//! - `do PROGRAM ARGUMENT…`, which must succeed
//! - `test PROGRAM ARGUMENT…`, the last one, whose exit code is the verdict
//!
//! The verdict goes out by the second serial port, the only way out that a locked-down kernel
//! leaves open; the kernel's parameter `VERDICT` names it. A guest that ends without it has died.

use std::{
    env,
    ffi::CString,
    fs::{self, File},
    io::Write as _,
    os::unix::process::ExitStatusExt as _,
    process::{Command, ExitStatus},
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::{
    fs::sync,
    mount::{MountFlags, mount},
    process::{Pid, WaitOptions, wait},
    system::{RebootCommand, finit_module, reboot},
};

const SCRIPT: &str = "/script";
const VERDICT_PORT: &str = "VERDICT";

fn main() {
    let verdict = match follow_script() {
        Ok(code) => format!("exit {code}\n"),
        Err(error) => {
            eprintln!("guest: {error:#}");
            "broken\n".to_owned()
        }
    };
    if let Err(error) = tell(&verdict) {
        eprintln!("guest: cannot tell the verdict: {error:#}");
    }
    sync();
    // The emulator is configured to end where a machine would start again.
    let error = reboot(RebootCommand::Restart);
    panic!("the machine stays on: {error:?}");
}

fn tell(verdict: &str) -> Result<()> {
    let port = env::var_os(VERDICT_PORT).context("the kernel command line names no port for it")?;
    let mut port = File::options().write(true).open(port)?;
    port.write_all(verdict.as_bytes())?;
    Ok(rustix::termios::tcdrain(&port)?)
}

fn follow_script() -> Result<i32> {
    let script = fs::read_to_string(SCRIPT).context(SCRIPT)?;
    let mut variables = Vec::new();
    for line in script.lines() {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words.as_slice() {
            ["mount", kind, at, options @ ..] => {
                mount_at(kind, at, options.first().copied()).with_context(|| line.to_owned())?;
            }
            ["module", file] => insert(file).with_context(|| line.to_owned())?,
            ["env", name, value] => variables.push(((*name).to_owned(), (*value).to_owned())),
            ["do", program, arguments @ ..] => {
                let status = run(program, arguments, &variables)?;
                ensure!(status.success(), "{line}: {status}");
            }
            ["test", program, arguments @ ..] => {
                let status = run(program, arguments, &variables)?;
                return Ok(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)));
            }
            _ => bail!("no instruction: {line}"),
        }
    }
    bail!("{SCRIPT} has no test")
}

fn mount_at(kind: &str, at: &str, options: Option<&str>) -> Result<()> {
    fs::create_dir_all(at)?;
    let options = options.map(CString::new).transpose()?;
    Ok(mount(kind, at, kind, MountFlags::empty(), options.as_deref())?)
}

fn insert(file: &str) -> Result<()> {
    Ok(finit_module(File::open(file)?, c"", 0)?)
}

/// Runs a program to its end. Processes that lose their parent meanwhile are reaped here.
fn run(program: &str, arguments: &[&str], variables: &[(String, String)]) -> Result<ExitStatus> {
    let variables = variables.iter().map(|(name, value)| (name, value));
    let child = Command::new(program)
        .args(arguments)
        .envs(variables)
        .env("PATH", env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/usr/sbin".into()))
        .spawn()
        .with_context(|| format!("cannot start {program}"))?;
    let child = Pid::from_child(&child);
    loop {
        if let Some((pid, status)) = wait(WaitOptions::empty())?
            && pid == child
        {
            return Ok(ExitStatus::from_raw(status.as_raw()));
        }
    }
}
