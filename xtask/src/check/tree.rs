//! The files of the repository.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::workspace::root;

/// The files with this extension, without what is built or hidden; of hidden folders only .github.
pub(super) fn files(extension: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    walk(root(), extension, &mut found)?;
    found.sort();
    Ok(found)
}

fn walk(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {folder:?}"))?;
    for entry in entries {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        // A link leads to what is found elsewhere.
        let kind = entry.file_type()?;
        if kind.is_dir() {
            let name = name.to_string_lossy();
            let is_hidden = name.starts_with('.') && name != ".github";
            if !is_hidden && name != "target" && name != "node_modules" {
                walk(&path, extension, found)?;
            }
        } else if kind.is_file() && path.extension().is_some_and(|there| there == extension) {
            found.push(path);
        }
    }
    Ok(())
}
