//! The invariants of ARCHITECTURE.md that can be read off the sources.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::{
    Outcome, failed_with,
    source::{Line, is_of_identifier, lines},
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

const RULES: &[Rule] = &[
    Rule {
        why: "aya is used by the kernel module only",
        within: &["monitor", "monitor-common", "xtask"],
        except: &["monitor/benches", "monitor/src/kernel", "monitor/tests", "xtask/src/bench"],
        breaks: |line| ["aya", "aya_log", "aya_obj"].iter().any(|name| has_word(&line.code, name)),
    },
    Rule {
        why: "unsafe code belongs into the kernel module",
        within: &["monitor/src", "monitor-common/src", "xtask/src"],
        except: &["monitor/src/kernel"],
        breaks: |line| has_word(&line.code, "unsafe"),
    },
    Rule {
        why: "names of metrics are declared in one file",
        within: &["monitor/src"],
        except: &["monitor/src/metrics/names.rs"],
        breaks: |line| line.text.contains("ghostport_"),
    },
    Rule {
        why: "this module does no I/O and reads no clock",
        within: &[
            "monitor-common/src",
            "monitor/src/identify",
            "monitor/src/kernel/verdict.rs",
            "monitor/src/ledger",
        ],
        except: &[],
        breaks: |line| IMPURE.iter().any(|call| line.code.contains(call)),
    },
];

const IMPURE: &[&str] = &["::now(", "File::", "TcpStream", "UdpSocket", "std::fs", "tokio::"];

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
    Ok(failed_with(breaches.into_iter()))
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

/// Whether a word stands in a line of code on its own, not as a part of a longer name.
fn has_word(code: &str, word: &str) -> bool {
    code.split(|character| !is_of_identifier(character)).any(|found| found == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_whole_names() {
        assert!(has_word("use aya::maps;", "aya"));
        assert!(!has_word("use aya_log::EbpfLogger;", "aya"));
        assert!(!has_word("#![forbid(unsafe_code)]", "unsafe"));
    }
}
