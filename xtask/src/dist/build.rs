//! Building all files of a release.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use bpf_toolchain::find_program;

use super::{
    archive, deb, image, program,
    release::{Release, afresh, output, say},
    rpm, sbom, stage,
};

/// Packages, by the program that packs each.
const PACKAGES: [(&str, &str, Build); 2] =
    [("dpkg-deb", "deb", deb::build), ("rpmbuild", "rpm", rpm::build)];

type Build = fn(&Release, &Path) -> Result<PathBuf>;

/// Builds everything for which the tools are there; returns the files to hand out, the list of checksums last.
pub(super) fn build(release: &Release) -> Result<Vec<PathBuf>> {
    let out = release.out();
    afresh(&out)?;
    let program = program::build(release)?;
    let stage = stage::fill(release, &program)?;
    let bill = out.join(format!("ghostport-{}-{}", release.version, sbom::NAME));
    stage::copy(&stage.join(stage::DOCUMENTATION).join(sbom::NAME), &bill, 0o644)?;
    let mut files = vec![
        archive::build(release, &stage)?,
        image::build(release, &program, &bill)?,
        archive::chart(release)?,
        bill,
    ];
    files.extend(image::both(release, &release.other_folder())?);
    for (tool, package, build) in PACKAGES {
        match find_program(tool) {
            Some(_) => files.push(build(release, &stage)?),
            None => say(&format!("no {package}: {tool} is not installed (--check installs it)")),
        }
    }
    say("checksums");
    let mut list = Command::new("sha256sum");
    list.args(files.iter().filter_map(|file| file.file_name())).current_dir(&out);
    let path = out.join("SHA256SUMS");
    fs::write(&path, output(&mut list)?)?;
    files.push(path);
    Ok(files)
}
