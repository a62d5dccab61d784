//! The chart and the manifests for Kubernetes: helm and kubectl render them, the API's schemas and the
//! agent itself judge the result.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use self::schema::Api;
use super::outcome::Outcome;
use crate::{
    builds::Builds,
    chart, wheels,
    workspace::{root, shown, target_dir},
};

mod compare;
mod schema;

/// The oldest version that has every field, one between, and the newest there is.
const VERSIONS: [&str; 3] = ["1.30", "1.34", "1.37"];

/// The values with which the chart is what the kustomization is.
const LIKE_BASE: &str = "base-values.yaml";

/// Where pods have the file of the web server.
const WEB_FILE: &str = "/etc/ghostport-web/web.yml";

/// Where pods have the headers of sinks.
const SECRETS: &str = "/etc/ghostport-secrets";

/// Values that are refused, and a part of the reason.
const REFUSED: &[(&str, &str)] = &[
    ("ports=[0]", "ports"),
    ("ports=[{\"port\": 80, \"expct\": []}]", "ports"),
    ("sinks=[{\"kind\": \"webhook\"}]", "sinks"),
    (
        "sinks=[{\"kind\": \"stdout\", \"headersSecret\": {\"name\": \"a\", \"key\": \"b\"}}]",
        "sinks",
    ),
    ("interfaces={\"inlcude\": [\"eth0\"]}", "inlcude"),
    ("config={\"web\": {\"listen\": [\"0.0.0.0:10948\"]}}", "web"),
    ("web={\"addresses\": [\"0.0.0.0\"]}", "addresses"),
    ("web={\"addresses\": [\"all\"]}", "web.configSecret"),
    ("podMonitor={\"enabled\": true}", "web.addresses"),
    ("updateStrategy={\"rollingUpdate\": {\"maxSurge\": 1}}", "maxSurge"),
    ("hostNetwork=false", "hostNetwork"),
];

/// What the chart carries, and where that is kept.
const CARRIED: [(&str, &str); 2] = [
    ("ghostport-host.json", "dashboards/grafana/host.json"),
    ("ghostport-overview.json", "dashboards/grafana/overview.json"),
];

const RULES: [&str; 2] =
    ["dashboards/prometheus/recording.yml", "dashboards/prometheus/alerts.yml"];

/// Renders everything and judges it.
pub(super) fn hold() -> Result<Outcome> {
    let (Some(helm), Some(kubectl)) = (wheels::program("helm"), wheels::program("kubectl")) else {
        return Ok(Outcome::Skipped("no helm and kubectl: cargo xtask setup".to_owned()));
    };
    let mut problems = versions()?;
    if chart::schema(Builds::LikeTests)? != fs::read_to_string(chart::schema_path())? {
        problems.push("values.schema.json is not what the agent says: cargo xtask docs".to_owned());
    }
    let apis = apis()?;
    let base = kustomize(&kubectl)?;
    problems.extend(judged(&apis, &base).map(|problem| format!("kustomization: {problem}")));
    for values in cases()? {
        let name = values.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let objects = match render(&helm, &values) {
            Ok(objects) => objects,
            Err(error) => {
                problems.push(format!("{name}: {error:#}"));
                continue;
            }
        };
        let mut found: Vec<_> = judged(&apis, &objects).collect();
        found.extend(configuration(&objects)?);
        found.extend(drifted(&objects)?);
        if name == LIKE_BASE {
            found.extend(compare::differences(&objects, &base));
        }
        problems.extend(found.into_iter().map(|problem| format!("{name}: {problem}")));
    }
    for (values, reason) in REFUSED {
        problems.extend(accepted(&helm, values, reason)?);
    }
    Ok(Outcome::from_problems(problems))
}

/// Lines that end with the version, by file.
const OF_THIS_VERSION: [(&str, &str); 5] = [
    ("packaging/kubernetes/chart/Chart.yaml", "version: "),
    ("packaging/kubernetes/chart/Chart.yaml", "appVersion: "),
    ("packaging/kubernetes/base/kustomization.yaml", "newTag: "),
    ("packaging/containers/compose.yaml", "image: localhost/ghostport:"),
    ("packaging/containers/ghostport.container", "Image=localhost/ghostport:"),
];

/// Chart and images are of this version.
fn versions() -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for (file, key) in OF_THIS_VERSION {
        let text = fs::read_to_string(root().join(file)).with_context(|| format!("no {file}"))?;
        let line = format!("{key}{}", env!("CARGO_PKG_VERSION"));
        if !text.lines().any(|there| there.trim() == line) {
            problems.push(format!("{file} has no line \"{line}\""));
        }
    }
    Ok(problems)
}

fn apis() -> Result<Vec<(&'static str, Api)>> {
    let api = |version| {
        let path = wheels::schemas(version);
        let path = path.with_context(|| format!("no schemas of {version}: cargo xtask setup"))?;
        let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok((version, Api::new(serde_json::from_slice(&text)?)))
    };
    VERSIONS.into_iter().map(api).collect()
}

fn cases() -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(chart::folder().join("ci"))?;
    let mut cases =
        entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>().context("ci/")?;
    cases.sort();
    Ok(cases)
}

/// The objects of the chart with these values, which lint has to accept as well.
fn render(helm: &Path, values: &Path) -> Result<Vec<Value>> {
    let mut lint = Command::new(helm);
    output(lint.args(["lint", "--strict", "--quiet"]).arg(chart::folder()).arg("-f").arg(values))?;
    objects(&output(template(helm).arg("-f").arg(values))?)
}

/// Nothing of a cluster is asked.
fn template(helm: &Path) -> Command {
    let mut command = Command::new(helm);
    command.args(["template", "ghostport"]).arg(chart::folder());
    command.args(["--namespace", "ghostport"]);
    command
}

fn kustomize(kubectl: &Path) -> Result<Vec<Value>> {
    let folder = root().join("packaging/kubernetes/podmonitor");
    objects(&output(Command::new(kubectl).arg("kustomize").arg(folder))?)
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start {}", shown(command)))?;
    let said = String::from_utf8_lossy(if output.stderr.is_empty() {
        &output.stdout
    } else {
        &output.stderr
    });
    ensure!(output.status.success(), "{}: {}", shown(command), said.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The documents of a stream.
fn objects(stream: &str) -> Result<Vec<Value>> {
    let documents = stream.split("\n---\n").map(|text| text.trim_start_matches("---\n"));
    let objects = documents.map(|text| {
        serde_saphyr::from_str::<Value>(text).with_context(|| format!("no YAML:\n{text}"))
    });
    let objects = objects.filter(|object| !matches!(object, Ok(Value::Null)));
    objects.collect()
}

/// What the versions of the API have against objects. Resources of the Prometheus Operator are not
/// among their kinds.
fn judged<'a>(
    apis: &'a [(&str, Api)],
    objects: &'a [Value],
) -> impl Iterator<Item = String> + use<'a> {
    apis.iter().flat_map(move |(version, api)| {
        objects.iter().flat_map(move |object| {
            let name = format!("{} {}", object["kind"], object["metadata"]["name"]);
            let is_foreign =
                object["apiVersion"].as_str().is_some_and(|name| name.starts_with("monitoring."));
            let found = match api.problems(object) {
                None if is_foreign => Vec::new(),
                None => vec!["is of no kind".to_owned()],
                Some(found) => found,
            };
            found.into_iter().map(move |problem| format!("{version}: {name}: {problem}"))
        })
    })
}

/// What the agent has against the configuration in the ConfigMap, and the file of the web server that it
/// names: that of the chart's Secret, or an empty one in the place of a user's.
fn configuration(objects: &[Value]) -> Result<Vec<String>> {
    let files = objects.iter().filter_map(|object| object["data"]["ghostport.yaml"].as_str());
    let folder = target_dir()?;
    let (file, web) = (folder.join("chart.yaml"), folder.join("chart-web.yml"));
    let of_secret = objects.iter().find_map(|object| object["stringData"]["web.yml"].as_str());
    fs::write(&web, of_secret.unwrap_or("{}\n"))?;
    let mut problems = Vec::new();
    let mut number = 0;
    for text in files {
        number += 1;
        let text = text.replace(WEB_FILE, &web.to_string_lossy());
        let text = text.replace(SECRETS, &folder.join("chart-secrets").to_string_lossy());
        write_headers(&text)?;
        fs::write(&file, &text).with_context(|| format!("cannot write {}", file.display()))?;
        let mut command = chart::ghostport(Builds::LikeTests)?;
        command.args(["config", "check", "--config"]).arg(&file);
        if let Outcome::Failed(why) = Outcome::of(&mut command)? {
            problems.push(format!("{why}\n{text}"));
        }
    }
    if number != 1 {
        problems.push(format!("{number} configurations"));
    }
    Ok(problems)
}

/// Files in the place of users' Secrets, as the configuration names them.
fn write_headers(configuration: &str) -> Result<()> {
    let lines = configuration.lines();
    let files = lines.filter_map(|line| line.split_once("headers_file: ").map(|(_, path)| path));
    for file in files.map(Path::new) {
        fs::create_dir_all(file.parent().unwrap_or(file))?;
        fs::write(file, "Authorization: Bearer secret\n")?;
    }
    Ok(())
}

/// Dashboards and rules, where there are any, are those of the repository.
fn drifted(objects: &[Value]) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for (key, path) in CARRIED {
        let text = fs::read_to_string(root().join(path))?;
        let found = objects.iter().filter_map(|object| object["data"][key].as_str());
        let differ = found.filter(|found| found.trim_end() != text.trim_end());
        problems.extend(differ.map(|_| format!("{key} is not {path}")));
    }
    let mut groups = Vec::new();
    for path in RULES {
        let file: Value = serde_saphyr::from_str(&fs::read_to_string(root().join(path))?)?;
        groups.extend(file["groups"].as_array().cloned().unwrap_or_default());
    }
    let rules = objects.iter().filter(|object| object["kind"] == "PrometheusRule");
    let differ = rules.filter(|rule| rule["spec"]["groups"].as_array() != Some(&groups));
    problems.extend(differ.map(|_| "PrometheusRule has other rules than dashboards".to_owned()));
    Ok(problems)
}

/// Values that should be refused, and are not, or for another reason.
fn accepted(helm: &Path, values: &str, reason: &str) -> Result<Option<String>> {
    let mut command = template(helm);
    let output = command.args(["--set-json", values]).output().context("cannot start helm")?;
    let said = String::from_utf8_lossy(&output.stderr);
    Ok(if output.status.success() {
        Some(format!("{values} is accepted"))
    } else {
        (!said.contains(reason)).then(|| format!("{values} is refused without {reason}: {said}"))
    })
}
