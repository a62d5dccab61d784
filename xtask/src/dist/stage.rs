//! The files that an installation consists of, in the places where they belong.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::release::{Release, output, say};
use crate::workspace::cargo;

/// What the packages have as it is in the repository.
const FILES: &[(&str, &str)] = &[
    ("packaging/ghostport.yaml", "etc/ghostport/ghostport.yaml"),
    ("packaging/logrotate/ghostport", "etc/logrotate.d/ghostport"),
    ("packaging/systemd/ghostport.service", "usr/lib/systemd/system/ghostport.service"),
    (
        "packaging/systemd/ghostport-selftest.service",
        "usr/lib/systemd/system/ghostport-selftest.service",
    ),
    (
        "packaging/systemd/ghostport-selftest.timer",
        "usr/lib/systemd/system/ghostport-selftest.timer",
    ),
    ("packaging/systemd/ghostport.sysusers", "usr/lib/sysusers.d/ghostport.conf"),
    ("KNOWN_ISSUES.md", "usr/share/doc/ghostport/KNOWN_ISSUES.md"),
    ("README.md", "usr/share/doc/ghostport/README.md"),
    ("docs/fleet.md", "usr/share/doc/ghostport/docs/fleet.md"),
    ("docs/limitations.md", "usr/share/doc/ghostport/docs/limitations.md"),
    ("docs/runbook.md", "usr/share/doc/ghostport/docs/runbook.md"),
    ("dashboards/prometheus/alerts.yml", "usr/share/ghostport/prometheus/alerts.yml"),
    ("dashboards/prometheus/recording.yml", "usr/share/ghostport/prometheus/recording.yml"),
    ("dashboards/grafana/host.json", "usr/share/ghostport/grafana/host.json"),
    ("dashboards/grafana/overview.json", "usr/share/ghostport/grafana/overview.json"),
];

/// Folders of documents, of which the packages have every file, in the same places as the
/// repository, so that links between them lead somewhere.
const DOCUMENTS: &[(&str, &str)] = &[
    ("docs/operate", "usr/share/doc/ghostport/docs/operate"),
    ("docs/reference", "usr/share/doc/ghostport/docs/reference"),
];

/// Shells, and the files in which they look for completions.
const COMPLETIONS: &[(&str, &str)] = &[
    ("bash", "usr/share/bash-completion/completions/ghostport"),
    ("fish", "usr/share/fish/vendor_completions.d/ghostport.fish"),
    ("zsh", "usr/share/zsh/vendor-completions/_ghostport"),
];

const MANUAL: &str = "usr/share/man";

/// Puts everything into its place; returns the root. What the program says of itself is asked of one
/// that was built for this machine.
pub(super) fn fill(release: &Release, program: &Path) -> Result<PathBuf> {
    say("manual pages and completions");
    let stage = release.workshop("stage")?;
    copy(program, &stage.join("usr/bin/ghostport"), 0o755)?;
    for (from, to) in FILES {
        copy(&release.source.join(from), &stage.join(to), 0o644)?;
    }
    for (from, to) in DOCUMENTS {
        for page in fs::read_dir(release.source.join(from))? {
            let page = page?;
            copy(&page.path(), &stage.join(to).join(page.file_name()), 0o644)?;
        }
    }
    for (shell, to) in COMPLETIONS {
        let mut command = cargo();
        command.args(["run", "--quiet", "--package", "monitor", "--bin", "ghostport", "--"]);
        let script = output(command.args(["completions", shell]))?;
        write(&stage.join(to), script.as_bytes())?;
    }
    write_manual(&stage.join(MANUAL))?;
    Ok(stage)
}

fn write_manual(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let mut command = cargo();
    command.args(["run", "--quiet", "--package", "monitor", "--example", "manual", "--"]);
    output(command.arg(folder))?;
    for section in fs::read_dir(folder)? {
        fs::read_dir(section?.path())?.try_for_each(|page| compress(&page?.path()))?;
    }
    Ok(())
}

/// Compresses a file as packages want manuals: without a name or a time in it.
pub(super) fn compress(path: &Path) -> Result<()> {
    output(Command::new("gzip").args(["--best", "--no-name"]).arg(path)).map(drop)
}

/// Copies a file, and makes its folder.
pub(super) fn copy(from: &Path, to: &Path, mode: u32) -> Result<()> {
    let content = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    write(to, &content)?;
    Ok(fs::set_permissions(to, Permissions::from_mode(mode))?)
}

/// Writes a file that all may read, and makes its folder.
pub(super) fn write(to: &Path, content: &[u8]) -> Result<()> {
    fs::create_dir_all(to.parent().unwrap_or(to))?;
    fs::write(to, content).with_context(|| format!("cannot write {}", to.display()))?;
    Ok(fs::set_permissions(to, Permissions::from_mode(0o644))?)
}
