//! Sets the revision that the crate is built from.

use std::{env, path::Path, process::Command};

const REVISION: &str = "GHOSTPORT_REVISION";

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    println!("cargo::rerun-if-env-changed={REVISION}");
    let revision = env::var(REVISION).ok().or_else(|| git_revision(&root));
    println!("cargo::rustc-env={REVISION}={}", revision.as_deref().unwrap_or("unknown"));
}

/// Watches HEAD for a change of branch and the branches for a commit.
fn git_revision(root: &Path) -> Option<String> {
    for watched in ["HEAD", "refs/heads"] {
        let path = root.join(git(root, &["--git-path", watched])?);
        if path.exists() {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
    git(root, &["--short", "HEAD"])
}

fn git(root: &Path, question: &[&str]) -> Option<String> {
    let output =
        Command::new("git").arg("rev-parse").args(question).current_dir(root).output().ok()?;
    let answer = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| answer.trim().to_owned())
}
