//! The pages of docs/reference are those that the code generates.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result};

use super::outcome::Outcome;
use crate::{
    builds::Builds,
    docs::{FOLDER, command},
    workspace::{root, target_dir},
};

/// Written by hand: the index.
const INDEX: &str = "README.md";

/// Generates the pages elsewhere and compares them.
pub(super) fn hold() -> Result<Outcome> {
    let fresh = target_dir()?.join("reference");
    if fresh.exists() {
        fs::remove_dir_all(&fresh).with_context(|| format!("cannot remove {fresh:?}"))?;
    }
    if let Outcome::Failed(why) = Outcome::of(command(Builds::LikeTests)?.arg(&fresh))? {
        return Ok(Outcome::Failed(why));
    }
    let (fresh, committed) = (pages(&fresh)?, pages(&root().join(FOLDER))?);
    let names = fresh.keys().chain(committed.keys().filter(|name| !fresh.contains_key(*name)));
    let stale = names.filter(|name| fresh.get(*name) != committed.get(*name));
    Ok(Outcome::from_problems(
        stale.map(|name| format!("{FOLDER}/{name} is not what the code says: cargo xtask docs")),
    ))
}

/// The pages in a folder by name.
fn pages(folder: &Path) -> Result<BTreeMap<String, String>> {
    let mut pages = BTreeMap::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {folder:?}"))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name != INDEX {
            let text =
                fs::read_to_string(&path).with_context(|| format!("cannot read {path:?}"))?;
            pages.insert(name, text);
        }
    }
    Ok(pages)
}
