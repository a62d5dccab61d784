//! The kernels of the matrix: which there are, which is the newest of each line, and getting it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use super::{progress::say, unpack};
use crate::{arch::Arch, debian::archive::Archive};

/// The lines of kernels that are tested, oldest first, by the versions that belong to them.
pub(super) const LINES: &[Line] = &[
    cloud("5.10", &[5, 10], Arch::Amd64),
    cloud("6.1", &[6, 1], Arch::Amd64),
    cloud("6.12", &[6, 12], Arch::Amd64),
    cloud("6.18", &[6, 18], Arch::Amd64),
    cloud("7.x", &[7], Arch::Amd64),
    // CONFIG_PREEMPT_RT: a program may be interrupted by another on its CPU.
    Line { flavour: "rt", ..cloud("7.x-rt", &[7], Arch::Amd64) },
    cloud("6.1-arm64", &[6, 1], Arch::Arm64),
];

/// Debian's kernels for guests of a hypervisor.
const fn cloud(name: &'static str, version: &'static [u32], arch: Arch) -> Line {
    Line { name, version, flavour: "cloud", arch }
}

/// Modules that tests may need, each after those it needs itself. What a kernel has built in or
/// does not have at all is left out.
const MODULES: &[&str] = &[
    "veth",
    "dummy",
    "sch_ingress",
    "cls_bpf",
    "llc",
    "stp",
    "bridge",
    "garp",
    "mrp",
    "8021q",
    "tls",
    "bonding",
    "macvlan",
    "ipvlan",
    "tun",
    "br_netfilter",
    "vrf",
    "udp_tunnel",
    "ip6_udp_tunnel",
    "crc32c_generic",
    "libcrc32c",
    "sctp",
    "nf_defrag_ipv4",
    "nf_defrag_ipv6",
    "nf_conntrack",
    "nfnetlink",
    "nf_conntrack_netlink",
    "nf_nat",
    "nf_tables",
    "nft_ct",
    "nft_chain_nat",
    "nft_nat",
    "nft_redir",
    "nft_fib",
    "nft_fib_ipv4",
    "nft_fib_ipv6",
    "nft_fib_inet",
    "nft_numgen",
    "nf_tproxy_ipv4",
    "nf_tproxy_ipv6",
    "nft_tproxy",
    "ip_vs",
    "ip_vs_rr",
    "xsk_diag",
];

/// The file beside a kernel that lists the modules that were looked for.
const KEPT: &str = "modules";

/// Kernels that belong together.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) name: &'static str,
    version: &'static [u32],
    /// Debian's name for the configuration.
    flavour: &'static str,
    pub(super) arch: Arch,
}

impl Line {
    /// Whether a release, as `uname -r` says it, is of this line. A name like `6.12-cloud-amd64`
    /// stands for the newest one, which is found without it.
    fn has(self, release: &str) -> bool {
        let flavour = format!("-{}-{}", self.flavour, self.arch.debian());
        release.strip_suffix(&flavour).is_some_and(|version| {
            version.starts_with(|first: char| first.is_ascii_digit())
                && numbers(version).starts_with(self.version)
                && version.matches('.').count() >= 2
        })
    }
}

/// A kernel that can be booted.
pub(super) struct Kernel {
    pub(super) line: Line,
    /// Its version as `uname -r` says it.
    pub(super) release: String,
    pub(super) image: PathBuf,
    /// Its modules in the order in which they can be inserted.
    pub(super) modules: Vec<PathBuf>,
}

/// The newest kernel of every line, fetched unless it is here already.
pub(super) fn provide(lines: &[Line], cache: &Path) -> Result<Vec<Kernel>> {
    let folder = cache.join("kernels");
    let mut kernels = Vec::new();
    for lines in lines.chunk_by(|one, next| one.arch == next.arch) {
        let archive = Archive::open(lines[0].arch)?;
        let packages = archive.packages(&["linux-image-", "linux-binary-", "linux-modules-"])?;
        for line in lines {
            kernels.push(provide_one(*line, &archive, &packages, &folder)?);
        }
    }
    Ok(kernels)
}

fn provide_one(
    line: Line,
    archive: &Archive,
    packages: &BTreeMap<String, String>,
    folder: &Path,
) -> Result<Kernel> {
    let release = newest(line, packages.keys().map(String::as_str))
        .with_context(|| format!("Debian's archive has no kernel {}", line.name))?;
    let home = folder.join(&release);
    // Another list of modules needs what was not kept the last time.
    let modules = MODULES.join("\n");
    let kept = fs::read_to_string(home.join(KEPT)).unwrap_or_default();
    if kept != modules {
        let parts = parts(&release, |name| packages.contains_key(name));
        say(&format!("fetching {}", parts.join(" ")));
        // Complete or not at all, whenever this is interrupted.
        let unfinished = folder.join(format!("{release}.unfinished"));
        let _ = fs::remove_dir_all(&unfinished);
        fs::create_dir_all(&unfinished)?;
        fetch(line, archive, &parts, &unfinished).with_context(|| format!("kernel {release}"))?;
        fs::write(unfinished.join(KEPT), modules)?;
        let _ = fs::remove_dir_all(&home);
        fs::rename(&unfinished, &home)?;
        forget_older(line, &release, folder)?;
    }
    let modules = MODULES.iter().map(|name| home.join(format!("{name}.ko")));
    Ok(Kernel {
        line,
        image: home.join("vmlinux"),
        modules: modules.filter(|module| module.is_file()).collect(),
        release,
    })
}

/// The newest release of a line that is there with all its parts.
fn newest<'a>(line: Line, packages: impl Iterator<Item = &'a str> + Clone) -> Option<String> {
    let is_there = |wanted: &str| packages.clone().any(|name| name == wanted);
    let releases = packages.clone().filter_map(|name| {
        let release = name.strip_prefix("linux-image-")?;
        line.has(release).then(|| release.to_owned())
    });
    let whole = releases.filter(|release| parts(release, is_there).iter().all(|p| is_there(p)));
    whole.max_by_key(|release| numbers(release))
}

/// The packages that a release consists of: one, or since Linux 6.19 two.
fn parts(release: &str, is_there: impl Fn(&str) -> bool) -> Vec<String> {
    let [binary, modules] = ["binary", "modules"].map(|part| format!("linux-{part}-{release}"));
    if is_there(&binary) || is_there(&modules) {
        vec![binary, modules]
    } else {
        vec![format!("linux-image-{release}")]
    }
}

/// Every number in a version, for comparison.
fn numbers(version: &str) -> Vec<u32> {
    let digits = version.split(|character: char| !character.is_ascii_digit());
    digits.filter_map(|number| number.parse().ok()).collect()
}

/// Fetches packages and takes the kernel and its modules out.
fn fetch(line: Line, archive: &Archive, packages: &[String], home: &Path) -> Result<()> {
    let root = home.join("root");
    archive.unpack(packages, &root)?;
    let files = files_under(&root)?;
    let image = files.iter().find(|file| name(file).starts_with("vmlinuz"));
    let image = image.context("a package without a kernel")?;
    fs::write(home.join("vmlinux"), unpack::kernel_of(image, line.arch)?)?;
    for module in &files {
        let Some((stem, _)) = name(module).split_once(".ko") else { continue };
        if MODULES.contains(&stem) {
            let bytes = unpack::decompressed(&fs::read(module)?)?;
            fs::write(home.join(format!("{stem}.ko")), bytes)?;
        }
    }
    if !home.join("veth.ko").is_file() {
        bail!("a package without modules");
    }
    Ok(fs::remove_dir_all(&root)?)
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

fn files_under(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            files.extend(files_under(&entry.path())?);
        } else {
            files.push(entry.path());
        }
    }
    Ok(files)
}

/// Removes kernels of the same line that were fetched earlier.
fn forget_older(line: Line, newest: &str, folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if line.has(name(&path)) && name(&path) != newest {
            fs::remove_dir_all(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str) -> Line {
        *LINES.iter().find(|line| line.name == name).unwrap()
    }

    fn newest_of(line_name: &str, packages: &[&str]) -> Option<String> {
        newest(line(line_name), packages.iter().copied())
    }

    #[test]
    fn the_newest_is_found_by_number() {
        let packages = [
            "linux-image-6.1.0-9-cloud-amd64",
            "linux-image-6.1.0-10-cloud-amd64",
            "linux-image-6.1.0-11-amd64",
            "linux-image-6.1.0-12-cloud-amd64-dbg",
            "linux-image-6.1-cloud-amd64",
            "linux-image-cloud-amd64",
            "linux-image-6.12.9+deb13-cloud-amd64",
            "linux-image-7.2.9+deb14-rt-amd64",
            "linux-image-7.2.10+deb14-cloud-amd64",
        ];
        assert_eq!(newest_of("6.1", &packages).as_deref(), Some("6.1.0-10-cloud-amd64"));
        assert_eq!(newest_of("6.12", &packages).as_deref(), Some("6.12.9+deb13-cloud-amd64"));
        assert_eq!(newest_of("5.10", &packages), None);
        assert_eq!(newest_of("6.1-arm64", &packages), None);
        assert_eq!(newest_of("7.x-rt", &packages).as_deref(), Some("7.2.9+deb14-rt-amd64"));
    }

    #[test]
    fn a_release_in_parts_counts_when_it_is_whole() {
        let packages = [
            "linux-binary-7.2.9+deb14-cloud-amd64",
            "linux-image-7.2.9+deb14-cloud-amd64",
            "linux-modules-7.2.9+deb14-cloud-amd64",
            "linux-image-7.3.1+deb14-cloud-amd64",
            "linux-modules-7.3.1+deb14-cloud-amd64",
        ];
        assert_eq!(newest_of("7.x", &packages).as_deref(), Some("7.2.9+deb14-cloud-amd64"));
    }
}
