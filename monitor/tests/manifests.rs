//! What Kubernetes is given: valid by the schemas of its API, and with the privileges that the
//! systemd unit has.

use std::{fs, path::PathBuf, process::Command};

use support::agent::{finish, ghostport, stderr};

#[expect(clippy::allow_attributes, reason = "what is unused differs between the test programs")]
#[allow(dead_code, reason = "shared between test programs, each of which uses a part")]
mod support;

const MANIFESTS: [&str; 3] = ["namespace.yaml", "serviceaccount.yaml", "daemonset.yaml"];

/// An old version that is still seen, and the newest that the tool knows.
const VERSIONS: [&str; 2] = ["1.32", "1.37"];

fn packaged(path: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", "packaging", path].iter().collect()
}

fn read(path: &str) -> String {
    fs::read_to_string(packaged(path)).expect(path)
}

/// `kubernetes-validate` of PyPI has the schemas and calls fields that they do not know errors.
#[test]
fn manifests_are_valid_in_two_versions_of_the_api() {
    for version in VERSIONS {
        let mut command = Command::new("kubernetes-validate");
        command.args(["--strict", "--kubernetes-version", version]);
        command.args(MANIFESTS.map(|name| packaged("kubernetes/base").join(name)));
        let Ok(output) = command.output() else {
            return eprintln!("skipped: no kubernetes-validate (pip install kubernetes-validate)");
        };
        assert!(output.status.success(), "{version}: {}", stderr(&output));
    }
}

#[test]
fn a_pod_has_the_capabilities_of_the_unit() {
    let unit = read("systemd/ghostport.service");
    let of_unit = unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet="));
    let of_unit: Vec<&str> = of_unit
        .expect("a bounding set")
        .split(' ')
        .map(|name| name.strip_prefix("CAP_").expect("a capability"))
        .collect();
    let daemon_set = read("kubernetes/base/daemonset.yaml");
    let of_pod = daemon_set.lines().find_map(|line| line.trim().strip_prefix("add: ["));
    let of_pod = of_pod.and_then(|list| list.strip_suffix(']')).expect("a list");
    assert_eq!(of_pod.split(", ").collect::<Vec<_>>(), of_unit);
    assert_eq!(of_unit.len(), 5);
}

#[test]
fn the_image_is_of_this_version() {
    let kustomization = read("kubernetes/base/kustomization.yaml");
    let tag = format!("newTag: {}", env!("CARGO_PKG_VERSION"));
    assert!(kustomization.contains(&tag), "{kustomization}");
}

#[test]
fn the_configuration_in_the_map_is_valid() {
    let path = packaged("kubernetes/base/ghostport.yaml");
    let output = finish(ghostport().args(["config", "check", "--config"]).arg(path));
    assert!(output.status.success(), "{}", stderr(&output));
}
