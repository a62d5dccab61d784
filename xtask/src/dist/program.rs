//! The binary: static, stripped, and the same wherever it is built.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::{Release, say};
use crate::{
    toolchain::remapped,
    workspace::{cargo, succeed},
};

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Builds it; returns its path.
pub(super) fn build(release: &Release) -> Result<PathBuf> {
    say("building the binary; some minutes, if nothing is built yet");
    let target_dir = release.folder.join("target");
    let mut command = cargo();
    command
        .args(["build", "--release", "--locked", "--package", "monitor", "--bin", "ghostport"])
        .args(["--target", TARGET, "--target-dir"])
        .arg(&target_dir)
        .current_dir(&release.source)
        .env_remove("RUSTFLAGS")
        .env("CARGO_ENCODED_RUSTFLAGS", flags(&release.source))
        .env("GHOSTPORT_REVISION", &release.revision)
        .env("SOURCE_DATE_EPOCH", &release.epoch);
    succeed(&mut command)?;
    let built = target_dir.join(TARGET).join("release/ghostport");
    fs::metadata(&built).with_context(|| format!("cargo has not built {}", built.display()))?;
    Ok(built)
}

fn flags(source: &Path) -> String {
    let flags = ["-Ctarget-feature=+crt-static".to_owned()].into_iter();
    flags.chain(remapped(source)).collect::<Vec<_>>().join("\u{1f}")
}
