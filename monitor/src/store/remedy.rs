//! What is said of a store that may not be read.

use std::{fs, os::unix::fs::MetadataExt as _};

use anyhow::anyhow;

use super::reader::ReadError;
use crate::process;

/// The error; of a store that may not be read also who may read it.
pub fn with_remedy(error: ReadError) -> anyhow::Error {
    let group = error.forbidden().and_then(|path| {
        // The first of its folders that can be looked at has the group.
        let folder = path.ancestors().skip(1).find_map(|folder| fs::metadata(folder).ok())?;
        (folder.gid() != 0).then(|| process::group_name(folder.gid())).flatten()
    });
    let remedy = match (error.forbidden(), group) {
        (None, _) => return error.into(),
        (_, Some(group)) => format!("root and members of the group {group:?} may read it"),
        (_, None) => "root may read it".to_owned(),
    };
    anyhow!("{error}; {remedy}")
}
