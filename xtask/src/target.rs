//! Building static programs, for this machine or for another architecture.
//!
//! For another one it takes Debian's compiler, whose standard library for that architecture is a
//! package like any other, and Debian's cross linker. The package is unpacked, not installed: dpkg
//! would want to know the other architecture for that.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};

use bpf_toolchain::{DEBIAN_CARGO, DEBIAN_RUSTC};

use crate::{
    arch::Arch,
    debian::{self, archive::Archive},
    progress::say,
    workspace::{cargo, root, target_dir},
};

/// The compiler that the kernel side is built with as well, and its standard library.
const COMPILER: &str = "rustc-web";
const LIBRARY: &str = "libstd-rust-web-dev";

const LINKER: (&str, &str) =
    ("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", "aarch64-linux-gnu-gcc");

/// An architecture, and what builds for it.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) arch: Arch,
    /// Where the standard library was unpacked, if it is not this machine's.
    sysroot: Option<PathBuf>,
}

impl Target {
    /// This machine, or another one. For another one `setup` has to have seen to the linker; the
    /// standard library is fetched unless it is here already.
    pub(crate) fn of(arch: Arch) -> Result<Self> {
        let sysroot = match (Arch::of_this_machine(), arch) {
            (Some(here), _) if here == arch => None,
            (Some(Arch::Amd64), Arch::Arm64) => Some(standard_library(arch)?),
            _ => bail!("{} cannot be built for on this machine", arch.debian()),
        };
        Ok(Self { arch, sysroot })
    }

    pub(crate) fn is_of_this_machine(&self) -> bool {
        self.sysroot.is_none()
    }

    /// The cargo that builds for it, in the root of the repository.
    pub(crate) fn cargo(&self) -> Command {
        if self.is_of_this_machine() {
            return cargo();
        }
        let mut command = Command::new(DEBIAN_CARGO);
        command.current_dir(root()).env("RUSTC", DEBIAN_RUSTC).env(LINKER.0, LINKER.1);
        command
    }

    /// The compiler of that cargo.
    pub(crate) fn rustc(&self) -> Command {
        let mut command =
            Command::new(if self.is_of_this_machine() { "rustc" } else { DEBIAN_RUSTC });
        command.current_dir(root());
        command
    }

    /// Makes cargo build static programs for it, with these flags of the compiler's beside.
    pub(crate) fn build_static(&self, command: &mut Command, flags: impl Iterator<Item = String>) {
        let is_static = ["-C".to_owned(), "target-feature=+crt-static".to_owned()].into_iter();
        let sysroot = self.sysroot.iter().map(|folder| format!("--sysroot={}", folder.display()));
        let flags = is_static.chain(sysroot).chain(flags).collect::<Vec<_>>().join("\u{1f}");
        command
            .args(["--target", self.arch.triple()])
            .env_remove("RUSTFLAGS")
            .env("CARGO_ENCODED_RUSTFLAGS", flags);
    }
}

/// The standard library of the compiler's own version: no other would do.
fn standard_library(arch: Arch) -> Result<PathBuf> {
    ensure!(debian::is_here(), "what builds for {} comes from Debian's archive", arch.debian());
    let version = debian::version(COMPILER)?
        .with_context(|| format!("{COMPILER} is not installed, which builds for other machines"))?;
    let home = target_dir()?.join("cross").join(arch.debian()).join(&version);
    if !home.is_dir() {
        let package = format!("{LIBRARY}={version}");
        say(&format!("fetching {package} for {}", arch.debian()));
        Archive::open(arch)?.unpack(&[package], &home).with_context(|| {
            format!("no {LIBRARY} of {COMPILER}'s version {version}: is there a newer {COMPILER}?")
        })?;
    }
    let sysroot = home.join("usr");
    let libraries = sysroot.join("lib/rustlib").join(arch.triple()).join("lib");
    ensure!(has_files(&libraries), "{LIBRARY} {version} has no {}", libraries.display());
    Ok(sysroot)
}

fn has_files(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some())
}
