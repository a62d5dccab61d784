//! Words that mark indirect prose, in comments and documents; docs/style.md says what to write
//! instead.

use std::fs;

use anyhow::{Context as _, Result};

use super::{markdown, outcome::Outcome, source::lines, tree::files};
use crate::workspace::root;

const WORDS: [&str; 6] = ["told", "tells", "whoever", "nobody", "somebody", "anew"];

/// How many may be left: a word has its right place now and then.
const LIMIT: usize = 20;

/// Fails when there are more than [`LIMIT`], and lists them.
pub(super) fn hold() -> Result<Outcome> {
    let mut found = Vec::new();
    for (extension, prose) in [("rs", comments as fn(&str) -> Vec<String>), ("md", markdown::prose)]
    {
        for file in files(extension)? {
            let name = file.strip_prefix(root())?.display().to_string();
            let text = fs::read_to_string(&file).with_context(|| format!("cannot read {name}"))?;
            for (index, line) in prose(&text).iter().enumerate() {
                found.extend(words(line).map(|word| format!("{name}:{}: {word}", index + 1)));
            }
        }
    }
    if found.len() < LIMIT {
        return Ok(Outcome::Passed);
    }
    found.push(format!("{} such words; fewer than {LIMIT} pass: see docs/style.md", found.len()));
    Ok(Outcome::from_problems(found))
}

/// The comments of each line of a Rust source.
fn comments(source: &str) -> Vec<String> {
    lines(source).into_iter().map(|line| line.comment).collect()
}

fn words(line: &str) -> impl Iterator<Item = &'static str> {
    line.split(|character: char| !character.is_alphanumeric())
        .filter_map(|word| WORDS.into_iter().find(|listed| word.eq_ignore_ascii_case(listed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_whole_words_in_comments_only() {
        let line = |text: &str| comments(text).concat();
        assert_eq!(
            words(&line("f(\"told\"); // Told anew; untold.")).collect::<Vec<_>>(),
            ["told", "anew"]
        );
        assert_eq!(words(&line("tells(); /* nothing */")).count(), 0);
    }

    #[test]
    fn quoted_words_of_a_document_do_not_count() {
        let text = "Write `told`.\n```\nnobody\n```\nSomebody did.\n";
        let found: Vec<_> = markdown::prose(text).iter().flat_map(|line| words(line)).collect();
        assert_eq!(found, ["somebody"]);
    }
}
