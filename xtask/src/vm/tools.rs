//! Programs that the tests call, with the libraries they need: this machine's own for guests of its
//! kind, those of Debian's archive for others.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::progress::say;
use bpf_toolchain::find_program;

use crate::{
    arch::Arch,
    debian,
    workspace::{succeed, target_dir},
};

const TOOLS: &[&str] = &["ip", "tc", "sleep", "cat", "sh", "perl", "nft"];

/// Debian's packages that have them.
const PACKAGES: &str = "iproute2,coreutils,dash,perl-base,nftables";

/// The same, but only measurements call them, and can do without.
const OPTIONAL_TOOLS: &[&str] = &["bindsnoop"];

/// Files by the path that they have in the guest.
pub(super) struct Tools(pub(super) Vec<(PathBuf, Vec<u8>)>);

impl Tools {
    /// Those for guests of an architecture.
    pub(super) fn of(arch: Arch) -> Result<Self> {
        if Arch::of_this_machine() == Some(arch) {
            Self::of_this_machine()
        } else {
            Self::of_archive(arch)
        }
    }

    fn of_this_machine() -> Result<Self> {
        let mut files = Vec::new();
        let mut tools = Vec::new();
        for tool in TOOLS {
            let path = find_program(tool).with_context(|| format!("no {tool} on this machine"))?;
            tools.push((tool, path));
        }
        let optional = OPTIONAL_TOOLS.iter().filter_map(|tool| Some((tool, find_program(tool)?)));
        tools.extend(optional);
        for (tool, path) in tools {
            for library in libraries(&path)? {
                let bytes = read(&library)?;
                files.push((library, bytes));
            }
            files.push((in_guest(tool), read(&path)?));
        }
        Ok(Self(files))
    }

    fn of_archive(arch: Arch) -> Result<Self> {
        let root = fetched(arch)?;
        let mut files = Vec::new();
        let mut needed = Vec::new();
        for tool in TOOLS {
            let path = found(&root, &["usr/bin", "bin", "usr/sbin", "sbin"], tool)?;
            needed.extend(needs(&path)?);
            files.push((in_guest(tool), read(&path)?));
        }
        let multiarch = format!("{}-linux-gnu", arch.red_hat());
        let folders = ["lib", "usr/lib"].map(|lib| [lib.to_owned(), format!("{lib}/{multiarch}")]);
        let folders: Vec<&str> = folders.iter().flatten().map(String::as_str).collect();
        while let Some(library) = needed.pop() {
            // Where the loader looks for itself and for every library, whatever the system.
            let place = Path::new("/lib").join(&library);
            if files.iter().all(|(path, _)| *path != place) {
                let path = found(&root, &folders, &library)?;
                needed.extend(needs(&path)?);
                files.push((place, read(&path)?));
            }
        }
        Ok(Self(files))
    }
}

fn in_guest(tool: &str) -> PathBuf {
    Path::new("/usr/bin").join(tool)
}

/// Packages of another architecture and all they depend on, unpacked: nothing in there can run here.
fn fetched(arch: Arch) -> Result<PathBuf> {
    let suite = debian::suite()?;
    let tools = format!("{suite}-{}", PACKAGES.replace(',', "-"));
    let root = target_dir()?.join("vm/tools").join(arch.debian()).join(tools);
    if !root.is_dir() {
        say(&format!("fetching tools of {}", arch.debian()));
        let unfinished = root.with_extension("unfinished");
        let _ = fs::remove_dir_all(&unfinished);
        fs::create_dir_all(&unfinished)?;
        let mut command = Command::new("mmdebstrap");
        command.args(["--quiet", "--variant=extract", "--mode=root", "--include", PACKAGES]);
        command.arg(format!("--architectures={}", arch.debian())).arg(suite).arg(&unfinished);
        succeed(&mut command)?;
        fs::rename(&unfinished, &root)?;
    }
    Ok(root)
}

/// A file in one of these folders.
fn found(root: &Path, folders: &[&str], name: &str) -> Result<PathBuf> {
    let places = folders.iter().map(|folder| root.join(folder).join(name));
    places
        .into_iter()
        .find(|path| path.is_file())
        .with_context(|| format!("no {name} in {}: what was fetched is not whole", root.display()))
}

/// The names of the libraries that a program or library says it needs; the loader is among those of
/// the C library.
fn needs(program: &Path) -> Result<Vec<String>> {
    let mut command = Command::new("readelf");
    let output = command.arg("--dynamic").arg(program).output().context("cannot start readelf")?;
    Ok(needed_in(&String::from_utf8_lossy(&output.stdout)))
}

fn needed_in(dynamic_section: &str) -> Vec<String> {
    let lines = dynamic_section.lines().filter(|line| line.contains("(NEEDED)"));
    let name = |line: &str| Some(line.split_once('[')?.1.split_once(']')?.0.to_owned());
    lines.filter_map(name).collect()
}

/// The shared libraries that a program of this machine is linked to, its loader among them.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd").arg(program).output().context("cannot start ldd")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let paths = text.split_ascii_whitespace().filter(|word| word.starts_with('/'));
    Ok(paths.map(PathBuf::from).collect())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_those_that_are_needed() {
        let section = " 0x1 (NEEDED)             Shared library: [libmnl.so.0]\n \
                       0x1 (NEEDED)             Shared library: [libc.so.6]\n \
                       0xe (SONAME)             Library soname: [libbpf.so.1]\n";
        assert_eq!(needed_in(section), ["libmnl.so.0", "libc.so.6"]);
    }
}
