//! What Kubernetes is given: valid by the schemas of the Prometheus Operator, and with the privileges
//! that the systemd unit has. `cargo xtask check` has the schemas of Kubernetes' own API.

use std::{fs, path::PathBuf, process::Command};

use testkit::agent::{finish, ghostport, stderr};

fn packaged(path: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", "packaging", path].iter().collect()
}

fn read(path: &str) -> String {
    fs::read_to_string(packaged(path)).expect(path)
}

/// What the Prometheus Operator is given, by the schemas of its own resources.
const OPERATOR: &str = r#"
    import { PodMonitor, PrometheusRule } from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1';
    import { load } from 'js-yaml';
    const [monitor, ...rules] = JSON.parse(process.argv[1]).map((text) => load(text));
    new PodMonitor(monitor).validate();
    rules.forEach((rule) => new PrometheusRule(rule).validate());
"#;

/// The rules are made into a resource by the command of docs/fleet.md.
#[test]
fn pod_monitor_and_rules_match_the_operator_schemas() {
    let modules = Command::new("npm").args(["root", "--global"]).output();
    let modules = modules.map(|output| output.stdout).unwrap_or_default();
    let modules = PathBuf::from(String::from_utf8_lossy(&modules).trim());
    if !modules.join("@kubernetes-models/prometheus-operator").is_dir() {
        return eprintln!(
            "skipped: no schemas (npm install --global @kubernetes-models/prometheus-operator js-yaml)"
        );
    }
    let rules = ["recording", "alerts"].map(|name| {
        let path = packaged(&format!("../dashboards/prometheus/{name}.yml"));
        let text = fs::read_to_string(path).expect(name);
        let spec: String = text.lines().map(|line| format!("  {line}\n")).collect();
        let head = "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule";
        format!("{head}\nmetadata: {{name: {name}}}\nspec:\n{spec}")
    });
    let [recording, alerts] = rules;
    let documents = [read("kubernetes/podmonitor/podmonitor.yaml"), recording, alerts];
    // Modules are looked for beside where node runs.
    let beside = modules.parent().expect("a folder");
    let validates = |documents: &[String; 3]| {
        let documents = serde_json::to_string(documents).expect("JSON");
        let mut node = Command::new("node");
        finish(node.args(["--input-type=module", "-e", OPERATOR, &documents]).current_dir(beside))
    };
    let output = validates(&documents);
    assert!(output.status.success(), "{}", stderr(&output));
    let wrong = documents.map(|text| text.replace("interval: 15s", "interval: often"));
    assert!(!validates(&wrong).status.success(), "anything is taken");
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
