//! Archives, and the one that is unpacked over a root filesystem.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use super::{
    release::{Release, output, say},
    stage,
};

/// What is below /etc in packages is a model here: unpacking overwrites no configuration.
const MODELS: [(&str, &str); 2] = [
    ("etc/ghostport/ghostport.yaml", "usr/share/ghostport/ghostport.yaml"),
    ("etc/logrotate.d/ghostport", "usr/share/ghostport/logrotate"),
];

/// What no package has: its own installer, and what starts the agent without systemd.
const ADDED: [(&str, &str, u32); 2] = [
    ("packaging/archive/install.sh", "install.sh", 0o755),
    ("packaging/sysv/ghostport", "usr/share/ghostport/init.d", 0o755),
];

/// Packs the files of an installation, for systems that know neither kind of package.
pub(super) fn build(release: &Release, stage: &Path) -> Result<PathBuf> {
    say("archive");
    let name = format!("ghostport-{}-linux-{}", release.version, release.arch().red_hat());
    let root = release.workshop("archive")?;
    output(Command::new("cp").arg("-a").arg(stage.join("usr")).arg(&root))?;
    for (from, to) in MODELS {
        stage::copy(&stage.join(from), &root.join(to), 0o644)?;
    }
    for (from, to, mode) in ADDED {
        stage::copy(&release.source.join(from), &root.join(to), mode)?;
    }
    let path = release.out().join(format!("{name}.tar"));
    let mut tar = tar(release, &root, &path);
    // Links within lead to where they led.
    output(tar.arg(format!("--transform=s,^\\.,{name},S")).arg("."))?;
    stage::compress(&path)?;
    Ok(path.with_extension("tar.gz"))
}

/// Packs the chart for Kubernetes, with what its links lead to, as helm names it.
pub(super) fn chart(release: &Release) -> Result<PathBuf> {
    say("chart for Kubernetes");
    let folder = release.source.join("packaging/kubernetes/chart");
    let archive = release.out().join(format!("ghostport-{}.tar", release.version));
    let mut tar = tar(release, &folder, &archive);
    tar.args(["--dereference", "--transform=s,^\\.,ghostport,S", "--exclude=./ci", "."]);
    output(&mut tar)?;
    stage::compress(&archive)?;
    let path = archive.with_extension("tgz");
    fs::rename(archive.with_extension("tar.gz"), &path)?;
    Ok(path)
}

/// A command that packs what is named to it below `root` into `archive`: root's own, at the time of
/// the release, in the order of the names, with the modes of a usual umask.
pub(super) fn tar(release: &Release, root: &Path, archive: &Path) -> Command {
    let mut command = Command::new("tar");
    command
        .args(["--create", "--format=ustar", "--sort=name", "--numeric-owner"])
        .args(["--owner=0", "--group=0", "--mode=u+rwX,go+rX,go-w"])
        .arg(format!("--mtime=@{}", release.epoch))
        .arg("--directory")
        .arg(root)
        .arg("--file")
        .arg(archive);
    command
}
