//! The invariants of ARCHITECTURE.md that can be read off the sources.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::{
    outcome::Outcome,
    source::{Line, lines},
};
use crate::workspace::root;

/// Something that may stand in some sources only.
struct Rule {
    why: &'static str,
    /// Folders and files that the rule is about.
    within: &'static [&'static str],
    /// Folders and files among them that it leaves alone.
    except: &'static [&'static str],
    breaks: fn(&Line) -> bool,
}

const RULES: &[Rule] = &[Rule {
    why: "metric-names declares the names of metrics",
    within: &["monitor/src"],
    except: &[],
    breaks: |line| line.text.contains("ghostport_"),
}];

/// Checks every rule on every source it is about.
pub(super) fn hold() -> Result<Outcome> {
    let mut breaches = Vec::new();
    for rule in RULES {
        for place in rule.within {
            for file in sources(&root().join(place))? {
                breaches.extend(rule.breaches(&file)?);
            }
        }
    }
    Ok(Outcome::from_problems(breaches))
}

impl Rule {
    fn breaches(&self, file: &Path) -> Result<Vec<String>> {
        let name = file.strip_prefix(root())?;
        if self.except.iter().any(|place| name.starts_with(place)) {
            return Ok(Vec::new());
        }
        let source = fs::read_to_string(file).with_context(|| format!("cannot read {name:?}"))?;
        let broken = lines(&source).into_iter().enumerate().filter(|(_, line)| (self.breaks)(line));
        Ok(broken
            .map(|(index, _)| format!("{}:{}: {}", name.display(), index + 1, self.why))
            .collect())
    }
}

/// The Rust sources under a folder, or a file itself; none where there is nothing yet.
fn sources(place: &Path) -> Result<Vec<PathBuf>> {
    if place.is_file() {
        return Ok(vec![place.to_path_buf()]);
    }
    if !place.is_dir() || place.ends_with("target") {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(place)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
