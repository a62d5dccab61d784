//! The documents that every release has, and the links in all of them.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

use super::{markdown, outcome::Outcome, paths::Paths, tree::files};
use crate::workspace::root;

const DOCUMENTS: &[&str] = &[
    ".github/PULL_REQUEST_TEMPLATE.md",
    ".github/workflows/ci.yml",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "KNOWN_ISSUES.md",
    "LICENSE-APACHE",
    "LICENSE-GPL",
    "README.md",
    "SECURITY.md",
    "docs/benchmarks.md",
    "docs/fleet.md",
    "docs/limitations.md",
    "docs/operate/README.md",
    "docs/principles.md",
    "docs/reference/README.md",
    "docs/runbook.md",
    "docs/style.md",
];

/// Every document is there, every link within the repository leads somewhere, every path that is named
/// exists, and every page of docs/operate has a table of contents.
pub(super) fn hold() -> Result<Outcome> {
    let missing = DOCUMENTS.iter().filter(|name| !root().join(name).is_file());
    let mut problems: Vec<String> = missing.map(|name| format!("{name} is missing")).collect();
    let paths = Paths::read()?;
    for file in files("md")? {
        let name = file.strip_prefix(root())?.display().to_string();
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {name}"))?;
        for (index, line) in markdown::prose(&text).iter().enumerate() {
            for target in markdown::links(line) {
                if let Some(problem) = broken(&file, target)? {
                    problems.push(format!("{name}:{}: {target}: {problem}", index + 1));
                }
            }
        }
        let paths = paths.missing(&name, &text).into_iter();
        problems.extend(paths.map(|(line, path)| format!("{name}:{line}: {path} does not exist")));
        if name.starts_with("docs/operate/") && !has_contents(&name, &text) {
            problems.push(format!("{name}: not every section is under \"On this page\""));
        }
    }
    Ok(Outcome::from_problems(problems))
}

/// Why a link does not lead anywhere; links to other hosts are not followed.
fn broken(page: &Path, target: &str) -> Result<Option<&'static str>> {
    if target.contains("://") {
        return Ok(None);
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let folder = page.parent().unwrap_or(page);
    let file = if path.is_empty() { page.to_path_buf() } else { folder.join(path) };
    if !file.exists() {
        return Ok(Some("there is no such file"));
    }
    if anchor.is_empty() {
        return Ok(None);
    }
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {file:?}"))?;
    let is_there = markdown::anchors(&text).iter().any(|there| there == anchor);
    Ok((!is_there).then_some("there is no such heading"))
}

/// Whether the line that begins with `On this page` links to each section.
fn has_contents(name: &str, text: &str) -> bool {
    if name.ends_with("README.md") {
        return true;
    }
    let contents = text.lines().find(|line| line.starts_with("On this page: ")).unwrap_or_default();
    let linked: Vec<&str> =
        markdown::links(contents).map(|target| target.trim_start_matches('#')).collect();
    let sections: String = text
        .lines()
        .filter(|line| line.starts_with("## "))
        .map(|line| format!("{line}\n"))
        .collect();
    markdown::anchors(&sections).iter().eq(linked.iter())
}
