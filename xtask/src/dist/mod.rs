//! `cargo xtask dist`: what is handed out. A static binary, and everything that installs it: an
//! archive, packages for Debian's and Red Hat's kind, an image for containers, with checksums.
//!
//! The same commit is to give the same bytes: paths of the building machine are replaced, times are
//! that of the commit, and owners are root.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    arch::Arch,
    setup::{Need, setup},
    target::Target,
    workspace::{root, shown, target_dir},
};

mod archive;
mod check;
mod deb;
mod image;
mod program;
mod rpm;
mod stage;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Architecture to build for; this machine's own by default. What is for another one is neither
    /// installed nor run by `--check`.
    #[arg(long, value_enum)]
    arch: Option<Arch>,
    /// Builds twice, in different places, and compares; lints the packages, and installs, runs,
    /// removes and purges them in a fresh system. Needs root, and takes some minutes.
    #[arg(long)]
    check: bool,
}

/// What all that is built has in common.
pub(crate) struct Release {
    pub(crate) target: Target,
    pub(crate) version: &'static str,
    pub(crate) revision: String,
    /// Seconds since 1970: the time that everything bears.
    pub(crate) epoch: String,
    /// The sources.
    pub(crate) source: PathBuf,
    /// Where everything is built.
    pub(crate) folder: PathBuf,
}

pub(crate) fn dist(args: &Args) -> Result<ExitCode> {
    let here = Arch::of_this_machine();
    let arch = args.arch.or(here).context("packages are made for amd64 and arm64 alone")?;
    let mut needs = vec![Need::Packages];
    needs.extend((here != Some(arch)).then_some(Need::CrossArm64));
    setup(&needs)?;
    let folder = target_dir()?.join("dist");
    // Those for another architecture are kept beside this machine's own.
    let folder = if here == Some(arch) { folder } else { folder.join(arch.debian()) };
    let release = Release::of(Target::of(arch)?, root(), &folder)?;
    let files = release.build()?;
    for file in &files {
        let bytes = fs::metadata(file)?.len();
        println!("{:>9} KiB  {}", bytes.div_ceil(1024), file.display());
    }
    if args.check {
        check::check(&release, &files)?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Release {
    pub(crate) fn of(target: Target, source: &Path, folder: &Path) -> Result<Self> {
        Ok(Self {
            target,
            version: env!("CARGO_PKG_VERSION"),
            revision: of_git(&["rev-parse", "--short", "HEAD"])?,
            epoch: match env::var("SOURCE_DATE_EPOCH") {
                Ok(epoch) => epoch,
                Err(_) => of_git(&["log", "-1", "--format=%ct"])?,
            },
            source: source.to_path_buf(),
            folder: folder.to_path_buf(),
        })
    }

    /// Builds everything; returns the files to hand out, the list of checksums last.
    pub(crate) fn build(&self) -> Result<Vec<PathBuf>> {
        let out = self.out();
        afresh(&out)?;
        let program = program::build(self)?;
        let stage = stage::fill(self, &program)?;
        let mut files = vec![
            archive::build(self, &stage)?,
            deb::build(self, &stage)?,
            rpm::build(self, &stage)?,
            image::build(self, &program)?,
        ];
        say("checksums");
        let mut list = Command::new("sha256sum");
        list.args(files.iter().filter_map(|file| file.file_name())).current_dir(&out);
        let path = out.join("SHA256SUMS");
        fs::write(&path, output(&mut list)?)?;
        files.push(path);
        Ok(files)
    }

    /// The architecture that everything is for.
    fn arch(&self) -> Arch {
        self.target.arch
    }

    /// The folder of what is handed out.
    fn out(&self) -> PathBuf {
        self.folder.join("out")
    }

    /// An empty folder to work in.
    fn workshop(&self, name: &str) -> Result<PathBuf> {
        let folder = self.folder.join(name);
        afresh(&folder)?;
        Ok(folder)
    }
}

/// Makes a folder, without what was in it before.
fn afresh(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))
}

fn of_git(question: &[&str]) -> Result<String> {
    let mut git = Command::new("git");
    Ok(output(git.args(question).current_dir(root()))?.trim().to_owned())
}

/// Runs a command, which must succeed; what it says is shown only if it does not. Returns its
/// standard output.
fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start {}", shown(command)))?;
    let said = [output.stdout.as_slice(), &output.stderr].concat();
    ensure!(
        output.status.success(),
        "{} failed: {}\n{}",
        shown(command),
        output.status,
        String::from_utf8_lossy(&said).trim_end()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn say(text: &str) {
    eprintln!("dist: {text}");
}
