//! Building all files of a release.

use std::{fs, path::PathBuf, process::Command};

use anyhow::Result;

use super::{
    archive, deb, image, program,
    release::{Release, afresh, output, say},
    rpm, stage,
};

/// Builds everything; returns the files to hand out, the list of checksums last.
pub(super) fn build(release: &Release) -> Result<Vec<PathBuf>> {
    let out = release.out();
    afresh(&out)?;
    let program = program::build(release)?;
    let stage = stage::fill(release, &program)?;
    let mut files = vec![
        archive::build(release, &stage)?,
        deb::build(release, &stage)?,
        rpm::build(release, &stage)?,
        image::build(release, &program)?,
        archive::chart(release)?,
    ];
    say("checksums");
    let mut list = Command::new("sha256sum");
    list.args(files.iter().filter_map(|file| file.file_name())).current_dir(&out);
    let path = out.join("SHA256SUMS");
    fs::write(&path, output(&mut list)?)?;
    files.push(path);
    Ok(files)
}
