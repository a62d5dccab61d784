//! `cargo xtask dist`: what is handed out. A static binary, and everything that installs it: an
//! archive, packages for Debian's and Red Hat's kind, an image for containers, with checksums.
//!
//! The same commit is to give the same bytes: paths of the building machine are replaced, times are
//! that of the commit, and owners are root.

use std::{fs, process::ExitCode};

use anyhow::{Context as _, Result};

use self::release::Release;

use crate::{
    arch::Arch,
    packages::Need,
    setup::setup,
    target::Target,
    workspace::{root, target_dir},
};

mod archive;
mod build;
mod check;
mod deb;
mod image;
mod program;
mod release;
mod rpm;
mod sbom;
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

pub(crate) fn dist(args: &Args) -> Result<ExitCode> {
    let here = Arch::of_this_machine();
    let arch = args.arch.or(here).context("packages are made for amd64 and arm64 alone")?;
    // What builds is taken as it is; only what tries it out is installed.
    let mut needs = Vec::new();
    needs.extend(args.check.then_some(Need::Packages));
    needs.extend((here != Some(arch)).then_some(Need::CrossArm64));
    setup(&needs)?;
    let folder = target_dir()?.join("dist");
    // Those for another architecture are kept beside this machine's own.
    let folder = if here == Some(arch) { folder } else { folder.join(arch.debian()) };
    let release = Release::of(Target::of(arch)?, root(), &folder)?;
    let files = build::build(&release)?;
    for file in &files {
        let bytes = fs::metadata(file)?.len();
        println!("{:>9} KiB  {}", bytes.div_ceil(1024), file.display());
    }
    if args.check {
        check::check(&release, &files)?;
    }
    Ok(ExitCode::SUCCESS)
}
