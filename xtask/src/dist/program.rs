//! The binary: static, stripped, and the same wherever it is built.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};

use super::release::{Release, say};
use bpf_toolchain::remapped;

use crate::workspace::succeed;

/// Builds it; returns its path.
pub(super) fn build(release: &Release) -> Result<PathBuf> {
    say("building the binary; some minutes, if nothing is built yet");
    let target_dir = release.folder.join("target");
    let mut command = release.target.cargo();
    command
        .args(["build", "--release", "--locked", "--package", "monitor", "--bin", "ghostport"])
        .arg("--target-dir")
        .arg(&target_dir)
        .current_dir(&release.source)
        .env("GHOSTPORT_REVISION", &release.revision)
        .env("SOURCE_DATE_EPOCH", &release.epoch);
    release.target.build_static(&mut command, remapped(&release.source));
    succeed(&mut command)?;
    let built = target_dir.join(release.arch().triple()).join("release/ghostport");
    fs::metadata(&built).with_context(|| format!("cargo has not built {}", built.display()))?;
    Ok(built)
}
