//! `cargo xtask vm`: the integration tests on other kernels than this machine's, each booted under
//! emulation.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Result, bail, ensure};

use self::{
    guest::Guest,
    kernels::{LINES, Line},
    outcome::{Lived, Outcome},
    programs::Programs,
    progress::say,
    report::Report,
    table::{BIND_COST, EVERY_TEST, ROWS, Row},
    tools::Tools,
};
use crate::{
    arch::Arch, debian, packages::Need, setup::setup, target::Target, workspace::target_dir,
};

mod cpio;
mod guest;
mod kernels;
mod machine;
mod outcome;
mod programs;
mod progress;
mod report;
mod table;
mod tools;
mod unpack;

/// Guests that live at once. Each has two CPUs, but mostly waits.
const AT_ONCE: usize = 2;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Kernels (5.10, 6.1, 6.12, 6.18, 7.x, 7.x-rt; 6.1-arm64) and tests; where none is named, all tests, and
    /// all kernels of this machine's architecture.
    names: Vec<String>,
    /// Arguments for the test programs: names to filter by, for instance.
    #[arg(last = true)]
    harness: Vec<String>,
}

/// Why this machine cannot run guests, if it cannot.
pub(crate) fn unfit() -> Option<&'static str> {
    if Arch::of_this_machine() != Some(Arch::Amd64) {
        Some("most guests are x86-64 machines that run what is built here")
    } else if !debian::is_here() {
        Some("the kernels come from Debian's archive, by apt")
    } else {
        None
    }
}

pub(crate) fn vm(args: &Args) -> Result<ExitCode> {
    if let Some(why) = unfit() {
        bail!("not on this machine: {why}");
    }
    let (lines, rows) = chosen(&args.names)?;
    setup(&needs(&lines))?;
    let report = matrix(&lines, &rows, &args.harness)?;
    print!("{report}");
    let passed = report.passed();
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The part of the matrix that belongs to every test. Returns whether it passed.
pub(crate) fn test() -> Result<bool> {
    let rows: Vec<Row> =
        ROWS.iter().filter(|row| EVERY_TEST.contains(&row.name)).copied().collect();
    let report = matrix(&native_lines(), &rows, &[])?;
    print!("{report}");
    Ok(report.passed())
}

/// Measures the cost of binds on other kernels. Returns what the guests printed that is Markdown.
pub(crate) fn bind_cost(kernels: &[String]) -> Result<String> {
    if let Some(why) = unfit() {
        bail!("not on this machine: {why}");
    }
    let (lines, _) = chosen(kernels)?;
    setup(&needs(&lines))?;
    let report = matrix(&lines, &[BIND_COST], &[])?;
    ensure!(report.passed(), "{report}");
    let mut tables = String::new();
    for line in lines {
        let console = guests()?.join(line.name).join(BIND_COST.name).join("console");
        let console = fs::read_to_string(console)?.replace('\r', "");
        let is_table = |line: &&str| line.starts_with('|') || line.starts_with("## ");
        for line in console.lines().filter(is_table) {
            tables.push_str(line);
            tables.push_str(if line.starts_with('#') { "\n\n" } else { "\n" });
        }
        tables.push('\n');
    }
    Ok(tables)
}

/// Where the programs are built that run in guests.
fn build_folder(target: &Target) -> Result<PathBuf> {
    let home = target_dir()?.join("vm");
    Ok(if target.is_of_this_machine() {
        home.join("build")
    } else {
        home.join(format!("build-{}", target.arch.debian()))
    })
}

/// Makes cargo build as it does for guests, if there can be any: the checks and the tests, on this
/// machine and in guests, then share what is built.
pub(crate) fn build_for_guests(command: &mut Command) -> Result<()> {
    if unfit().is_some() {
        return Ok(());
    }
    let target = Target::of(Arch::Amd64)?;
    programs::for_guests(command, &target, &build_folder(&target)?);
    Ok(())
}

/// Where each guest leaves what it said.
fn guests() -> Result<PathBuf> {
    Ok(target_dir()?.join("vm/guests"))
}

/// What the names on the command line stand for.
fn chosen(names: &[String]) -> Result<(Vec<Line>, Vec<Row>)> {
    for name in names {
        let is_known =
            LINES.iter().any(|line| line.name == name) || ROWS.iter().any(|row| row.name == name);
        let known: Vec<&str> =
            LINES.iter().map(|line| line.name).chain(ROWS.iter().map(|row| row.name)).collect();
        ensure!(is_known, "{name} is neither a kernel nor a test; there are: {}", known.join(" "));
    }
    let is_named = |name: &str| names.iter().any(|named| named == name);
    let named_lines: Vec<Line> = LINES.iter().filter(|l| is_named(l.name)).copied().collect();
    let named_rows: Vec<Row> = ROWS.iter().filter(|r| is_named(r.name)).copied().collect();
    let lines = if named_lines.is_empty() { native_lines() } else { named_lines };
    let rows = if named_rows.is_empty() { ROWS.to_vec() } else { named_rows };
    Ok((lines, rows))
}

/// Those that are run unless others are named: emulation of another architecture takes its time, and
/// so does building for it.
fn native_lines() -> Vec<Line> {
    let here = Arch::of_this_machine();
    LINES.iter().filter(|line| here == Some(line.arch)).copied().collect()
}

fn needs(lines: &[Line]) -> Vec<Need> {
    let mut needs = vec![Need::Tests];
    if lines.iter().any(|line| line.arch == Arch::Arm64) {
        needs.extend([Need::CrossArm64, Need::GuestsArm64]);
    }
    needs
}

/// What guests of an architecture run.
struct Software {
    programs: Programs,
    tools: Tools,
}

impl Software {
    fn of(arch: Arch, rows: &[Row]) -> Result<Self> {
        let mut tests: Vec<&str> = rows.iter().map(|row| row.program).collect();
        tests.sort_unstable();
        tests.dedup();
        let target = Target::of(arch)?;
        let programs = programs::build(&target, &build_folder(&target)?, &tests)?;
        Ok(Self { programs, tools: Tools::of(arch)? })
    }
}

/// Runs every row on every line.
fn matrix(lines: &[Line], rows: &[Row], harness: &[String]) -> Result<Report> {
    let home = target_dir()?.join("vm");
    let kernels = kernels::provide(lines, &home)?;
    let archs: BTreeSet<Arch> = lines.iter().map(|line| line.arch).collect();
    let software = archs.into_iter().map(|arch| Ok((arch, Software::of(arch, rows)?)));
    let software = software.collect::<Result<BTreeMap<_, _>>>()?;
    let guests: Vec<Guest<'_>> = kernels
        .iter()
        .flat_map(|kernel| rows.iter().map(move |row| Guest { kernel, row, harness }))
        .collect();
    let lived = live_all(&guests, &software, &self::guests()?)?;
    drop(guests);
    Ok(Report { kernels, rows: rows.to_vec(), lived })
}

/// A few at a time, in order.
fn live_all(
    guests: &[Guest<'_>],
    software: &BTreeMap<Arch, Software>,
    folder: &Path,
) -> Result<Lived> {
    say(&format!("{} guests, {AT_ONCE} at a time", guests.len()));
    let next = AtomicUsize::new(0);
    let lived = Mutex::new(Lived::new());
    let work = || -> Result<()> {
        while let Some(guest) = guests.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (line, row) = (guest.kernel.line.name, guest.row.name);
            let (outcome, took) = guest_with_luck(
                guest,
                &software[&guest.kernel.line.arch],
                &folder.join(line).join(row),
            )?;
            say(&format!(
                "{line} {row}: {} ({:.1} s)",
                report::brief(&outcome),
                took.as_secs_f32()
            ));
            let mut lived = lived.lock().unwrap_or_else(PoisonError::into_inner);
            lived.insert((line, row), (outcome, took));
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })?;
    Ok(lived.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// A guest that died gets a second life; a test that failed has failed.
fn guest_with_luck(
    guest: &Guest<'_>,
    software: &Software,
    folder: &Path,
) -> Result<(Outcome, Duration)> {
    let Software { programs, tools } = software;
    let (outcome, took) = guest.live(programs, tools, folder)?;
    let Outcome::Died { why, .. } = &outcome else {
        return Ok((outcome, took));
    };
    say(&format!("{} {}: {why}; once more", guest.kernel.line.name, guest.row.name));
    fs::rename(folder.join("console"), folder.join("console.first"))?;
    guest.live(programs, tools, folder)
}
