//! The files that an installation consists of, in the places where they belong.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{
    release::{Release, output, say},
    sbom,
};
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
    ("dashboards/prometheus/alerts.yml", "usr/share/ghostport/prometheus/alerts.yml"),
    ("dashboards/prometheus/recording.yml", "usr/share/ghostport/prometheus/recording.yml"),
    ("dashboards/grafana/host.json", "usr/share/ghostport/grafana/host.json"),
    ("dashboards/grafana/overview.json", "usr/share/ghostport/grafana/overview.json"),
];

/// Documents and examples, with everything in folders, in the same places as in the repository, so that
/// links between them lead somewhere.
const DOCUMENTS: &[&str] = &[
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "KNOWN_ISSUES.md",
    "README.md",
    "SECURITY.md",
    "dashboards",
    "docs",
    "fuzz/README.md",
    "packaging/ansible",
    "packaging/collectors",
    "packaging/containers",
    "packaging/kubernetes",
    "packaging/systemd",
];

/// Where they are.
pub(super) const DOCUMENTATION: &str = "usr/share/doc/ghostport";

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
    for document in DOCUMENTS {
        copy_all(&release.source.join(document), &stage.join(DOCUMENTATION).join(document))?;
    }
    let bill = stage.join(DOCUMENTATION).join(sbom::NAME);
    write(&bill, sbom::of(release)?.as_bytes())?;
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

/// Copies a file or a folder with all that is in it; a link stays one.
fn copy_all(from: &Path, to: &Path) -> Result<()> {
    let kind = fs::symlink_metadata(from).with_context(|| format!("no {}", from.display()))?;
    if kind.is_symlink() {
        fs::create_dir_all(to.parent().unwrap_or(to))?;
        return Ok(symlink(fs::read_link(from)?, to)?);
    }
    if !kind.is_dir() {
        return copy(from, to, 0o644);
    }
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        copy_all(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use std::path::Component;

    use super::*;
    use crate::{check::markdown, workspace::root};

    /// Files and folders below a document, by their path in the repository.
    fn below(path: &Path, found: &mut Vec<PathBuf>) {
        found.push(path.to_path_buf());
        if let Ok(entries) = fs::read_dir(root().join(path)) {
            entries.flatten().for_each(|entry| below(&path.join(entry.file_name()), found));
        }
    }

    /// A path without `.` and `..`.
    fn plain(path: &Path) -> PathBuf {
        path.components().fold(PathBuf::new(), |mut plain, component| {
            match component {
                Component::ParentDir => drop(plain.pop()),
                Component::CurDir => {}
                other => plain.push(other),
            }
            plain
        })
    }

    #[test]
    fn installed_pages_link_to_what_is_installed() {
        let mut installed = Vec::new();
        DOCUMENTS.iter().for_each(|document| below(Path::new(document), &mut installed));
        let mut dead = Vec::new();
        for page in installed.iter().filter(|path| path.extension().is_some_and(|e| e == "md")) {
            let text = fs::read_to_string(root().join(page)).expect("a page");
            for line in markdown::prose(&text) {
                for target in markdown::links(&line).filter(|target| !target.contains("://")) {
                    let path = target.split('#').next().unwrap_or_default();
                    let beside = page.parent().unwrap_or(page).join(path);
                    if !path.is_empty() && !installed.contains(&plain(&beside)) {
                        dead.push(format!("{}: {target}", page.display()));
                    }
                }
            }
        }
        assert_eq!(dead, Vec::<String>::new());
    }
}
