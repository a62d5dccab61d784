//! Paths of the repository that documents name in code spans.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{markdown, tree::files};
use crate::workspace::root;

/// The changelog names paths of earlier versions.
const HISTORY: &str = "CHANGELOG.md";

/// Finds out which paths exist.
pub(super) struct Paths {
    sources: Vec<PathBuf>,
}

impl Paths {
    /// Those of the repository.
    pub(super) fn read() -> Result<Self> {
        Ok(Self { sources: files("rs")? })
    }

    /// The lines of `text`, a document, that name a path that does not exist; with the path.
    pub(super) fn missing<'a>(&self, name: &str, text: &'a str) -> Vec<(usize, &'a str)> {
        if name == HISTORY {
            return Vec::new();
        }
        let spans = markdown::code_spans(text);
        spans.into_iter().filter(|(_, span)| looks_like_path(span) && !self.exists(span)).collect()
    }

    /// A source may be named by the end of its path, as `agent/start.rs`.
    fn exists(&self, path: &str) -> bool {
        root().join(path).exists() || self.sources.iter().any(|source| source.ends_with(path))
    }
}

/// Whether it is a Rust source, or lies in one of the repository's first folders.
fn looks_like_path(span: &str) -> bool {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "._-/".contains(char);
    if span.starts_with('/') || !span.chars().all(is_plain) {
        return false;
    }
    let is_source = Path::new(span).extension().is_some_and(|extension| extension == "rs");
    let first = span.split_once('/').map(|(first, _)| first);
    let is_inside = |first: &str| first != "target" && root().join(first).is_dir();
    is_source || first.is_some_and(is_inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_paths_that_do_not_exist() {
        let paths = Paths::read().expect("sources");
        let text = "`xtask/src/main.rs` and `check/paths.rs`, `docs/`.\n\
                    `xtask/src/none.rs`, `none.rs`, `docs/none`\n\
                    `/etc/none.rs` `a/b` `*.rs` `target/none`\n```\n`none.rs`\n```\n";
        let missing = [(2, "xtask/src/none.rs"), (2, "none.rs"), (2, "docs/none")];
        assert_eq!(paths.missing("README.md", text), missing);
        assert_eq!(paths.missing(HISTORY, text), []);
    }
}
