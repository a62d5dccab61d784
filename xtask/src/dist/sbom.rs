//! The bill of materials: what is linked into the program, in the format of CycloneDX 1.6
//! (<https://cyclonedx.org/docs/1.6/json/>).

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::release::{Release, output};
use crate::{debian, workspace::cargo};

/// The end of the file's name.
pub(super) const NAME: &str = "sbom.cdx.json";

/// Workspaces and the package of each that is linked; what the kernel side has is in the program, too.
const PROGRAMS: [(&str, &str); 2] = [("", "monitor"), ("monitor-ebpf", "monitor-ebpf")];

/// What the live page has of others, as `monitor/src/web/page/vendor/README.md` lists it.
const PAGE: (&str, &str, &str) = ("uplot", "1.6.32", "MIT");

/// The document, the same for the same commit and compiler.
pub(super) fn of(release: &Release) -> Result<String> {
    let mut bill = Bill::default();
    for (folder, package) in PROGRAMS {
        let folder = release.source.join(folder);
        // The kernel side is for a target of its own, and has few packages.
        let platform = (package == "monitor").then(|| release.arch().triple());
        bill.take(&metadata(&folder, platform)?, &checksums(&folder.join("Cargo.lock"))?, package)?;
    }
    bill.add("SQLite", &sqlite(bill.sqlite.as_deref())?, "blessing", "pkg:generic/sqlite");
    let (name, version, licence) = PAGE;
    bill.add(name, version, licence, &format!("pkg:npm/{name}"));
    for (name, version) in toolchain(release)? {
        bill.add(name, &version, "", &format!("pkg:generic/{name}"));
    }
    let time = format!("@{}", release.epoch);
    let mut date = Command::new("date");
    let time = output(date.args(["--utc", "--date", &time, "+%FT%TZ"]))?;
    Ok(format!("{:#}\n", bill.document(release, time.trim())))
}

/// A document with one more component: data of Debian's package of that name.
pub(super) fn with(bill: &str, package: &str, version: &str) -> Result<String> {
    let mut bill: Value = serde_json::from_str(bill).context("the bill of materials is no JSON")?;
    let reference = format!("pkg:deb/debian/{package}@{version}");
    let components = bill["components"].as_array_mut().context("there are no components")?;
    components.push(json!({
        "type": "data", "bom-ref": reference, "name": package, "version": version, "purl": reference,
    }));
    Ok(format!("{bill:#}\n"))
}

/// What cargo knows of a workspace, with what its packages resolve to.
fn metadata(folder: &Path, platform: Option<&str>) -> Result<Value> {
    let mut command = cargo();
    command.args(["metadata", "--format-version", "1", "--locked"]).current_dir(folder);
    if let Some(platform) = platform {
        command.args(["--filter-platform", platform]);
    }
    serde_json::from_str(&output(&mut command)?).context("cargo metadata says no JSON")
}

/// SHA-256 of the sources of packages, by name and version.
fn checksums(lock: &Path) -> Result<BTreeMap<(String, String), String>> {
    let text = fs::read_to_string(lock).with_context(|| format!("no {}", lock.display()))?;
    let packages = text.split("[[package]]").skip(1);
    let of = |package: &str, key: &str| {
        let mut lines = package.lines();
        let value = lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "))?;
        Some(value.trim_matches('"').to_owned())
    };
    let known = packages.filter_map(|package| {
        let name = (of(package, "name")?, of(package, "version")?);
        Some((name, of(package, "checksum")?))
    });
    Ok(known.collect())
}

/// The version of the copy that the driver's package brings along.
fn sqlite(driver: Option<&Path>) -> Result<String> {
    let header = driver.context("nothing brings SQLite")?.join("sqlite3/sqlite3.h");
    let text = fs::read_to_string(&header).with_context(|| format!("no {}", header.display()))?;
    let line = text.lines().find_map(|line| line.strip_prefix("#define SQLITE_VERSION "));
    Ok(line.context("SQLite has no version")?.trim().trim_matches('"').to_owned())
}

/// Libraries of the compiler and of the system, which are linked in.
fn toolchain(release: &Release) -> Result<Vec<(&'static str, String)>> {
    let mut rustc = release.target.rustc();
    let version = output(rustc.arg("--version"))?;
    let version = version.split_whitespace().nth(1).context("rustc has no version")?;
    let mut found = vec![("rust-std", version.to_owned())];
    if debian::is_here() && release.target.is_of_this_machine() {
        found.extend(debian::version("libc6-dev")?.map(|version| ("glibc", version)));
    }
    Ok(found)
}

/// The components and what each depends on.
#[derive(Default)]
struct Bill {
    components: BTreeMap<String, Value>,
    dependencies: BTreeMap<String, BTreeSet<String>>,
    /// Where the package is that has a copy of SQLite.
    sqlite: Option<PathBuf>,
}

impl Bill {
    /// Takes a package and all that is linked into it.
    fn take(
        &mut self,
        metadata: &Value,
        checksums: &BTreeMap<(String, String), String>,
        root: &str,
    ) -> Result<()> {
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let by_id = |values: &Value| -> BTreeMap<String, Value> {
            let id = |value: &Value| value["id"].as_str().unwrap_or_default().to_owned();
            list(values).into_iter().map(|value| (id(&value), value)).collect()
        };
        let (packages, nodes) =
            (by_id(&metadata["packages"]), by_id(&metadata["resolve"]["nodes"]));
        let start = packages.iter().find(|(_, package)| package["name"] == root);
        let mut waiting = vec![start.with_context(|| format!("no package {root}"))?.0.clone()];
        let mut seen = BTreeSet::new();
        while let Some(id) = waiting.pop() {
            if !seen.insert(id.clone()) {
                continue;
            }
            let package = &packages[&id];
            let needed: Vec<String> = list(&nodes[&id]["deps"])
                .iter()
                .filter(|needed| is_linked(needed))
                .map(name)
                .collect();
            let reference = reference(package);
            let references = needed.iter().map(|id| self::reference(&packages[id]));
            self.dependencies.entry(reference.clone()).or_default().extend(references);
            let key = ["name", "version"].map(|key| text(package, key));
            let [of_name, of_version] = key;
            let checksum = checksums.get(&(of_name, of_version));
            self.components.insert(reference, component(package, checksum));
            if package["name"] == "libsqlite3-sys" {
                let manifest = PathBuf::from(text(package, "manifest_path"));
                self.sqlite = manifest.parent().map(Path::to_path_buf);
            }
            waiting.extend(needed);
        }
        Ok(())
    }

    /// Adds what no package manager of ours knows.
    fn add(&mut self, name: &str, version: &str, licence: &str, package: &str) {
        let reference = format!("{package}@{version}");
        let mut component = json!({
            "type": "library", "bom-ref": reference, "name": name, "version": version,
            "purl": reference,
        });
        if !licence.is_empty() {
            component["licenses"] = json!([{"license": {"id": licence}}]);
        }
        self.components.insert(reference, component);
    }

    fn document(&self, release: &Release, time: &str) -> Value {
        let programs = PROGRAMS.map(|(_, package)| own_reference(package, release.version));
        let dependencies = self
            .dependencies
            .iter()
            .map(|(reference, needed)| json!({"ref": reference, "dependsOn": needed}));
        let root = json!({"ref": "ghostport", "dependsOn": programs});
        json!({
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "version": 1,
            "metadata": {
                "timestamp": time,
                "component": {
                    "type": "application", "bom-ref": "ghostport", "name": "ghostport",
                    "version": release.version,
                    "licenses": [{"expression": env!("CARGO_PKG_LICENSE")}],
                    "properties": [
                        {"name": "ghostport:revision", "value": release.revision},
                        {"name": "ghostport:architecture", "value": release.arch().debian()},
                    ],
                },
            },
            "components": self.components.values().collect::<Vec<_>>(),
            "dependencies": std::iter::once(root).chain(dependencies).collect::<Vec<_>>(),
        })
    }
}

/// Neither needed to build alone nor to test.
fn is_linked(needed: &Value) -> bool {
    needed["dep_kinds"].as_array().into_iter().flatten().any(|kind| kind["kind"].is_null())
}

fn name(needed: &Value) -> String {
    text(needed, "pkg")
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

/// Packages of the workspace are in no registry.
fn reference(package: &Value) -> String {
    let (name, version) = (text(package, "name"), text(package, "version"));
    if package["source"].is_null() {
        own_reference(&name, &version)
    } else {
        format!("pkg:cargo/{name}@{version}")
    }
}

fn own_reference(name: &str, version: &str) -> String {
    format!("ghostport:{name}@{version}")
}

fn component(package: &Value, checksum: Option<&String>) -> Value {
    let reference = reference(package);
    let mut component = json!({
        "type": "library", "bom-ref": reference,
        "name": package["name"], "version": package["version"],
    });
    if let Some(licence) = package["license"].as_str() {
        // As it was written before SPDX's expressions.
        let expression = licence.split('/').map(str::trim).collect::<Vec<_>>().join(" OR ");
        component["licenses"] = json!([{"expression": expression}]);
    }
    if !package["source"].is_null() {
        component["purl"] = reference.into();
    }
    if let Some(checksum) = checksum {
        component["hashes"] = json!([{"alg": "SHA-256", "content": checksum}]);
    }
    component
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::root;

    #[test]
    fn has_what_is_linked_and_nothing_else() {
        let registry = "registry+x";
        let dependency = |id: &str, kind: Value| json!({"pkg": id, "dep_kinds": [{"kind": kind}]});
        let metadata = json!({
            "packages": [
                {"id": "m", "name": "monitor", "version": "1.0.0", "source": null, "license": "MIT"},
                {"id": "a", "name": "a", "version": "2.0.0", "source": registry, "license": "MIT / Apache-2.0"},
                {"id": "b", "name": "b", "version": "3.0.0", "source": registry, "license": "MIT"},
            ],
            "resolve": {"nodes": [
                {"id": "m", "deps": [dependency("a", Value::Null), dependency("b", json!("build"))]},
                {"id": "a", "deps": []},
                {"id": "b", "deps": []},
            ]},
        });
        let mut bill = Bill::default();
        let sums = BTreeMap::from([(("a".into(), "2.0.0".into()), "beef".into())]);
        bill.take(&metadata, &sums, "monitor").expect("a bill");
        let names: Vec<_> = bill.components.keys().map(String::as_str).collect();
        assert_eq!(names, ["ghostport:monitor@1.0.0", "pkg:cargo/a@2.0.0"]);
        let a = &bill.components["pkg:cargo/a@2.0.0"];
        assert_eq!(a["licenses"][0]["expression"], "MIT OR Apache-2.0");
        assert_eq!(a["hashes"][0]["content"], "beef");
        let needed = &bill.dependencies["ghostport:monitor@1.0.0"];
        assert_eq!(needed.iter().collect::<Vec<_>>(), ["pkg:cargo/a@2.0.0"]);
    }

    #[test]
    fn the_page_has_the_listed_version() {
        let path = root().join("monitor/src/web/page/vendor/README.md");
        let readme = fs::read_to_string(path).expect("the list");
        let (name, version, licence) = PAGE;
        let has_all = |line: &str| {
            [&*format!("`{name}`"), &*format!("| {version} |"), licence]
                .iter()
                .all(|part| line.contains(part))
        };
        assert!(readme.lines().any(has_all), "{readme}");
    }
}
