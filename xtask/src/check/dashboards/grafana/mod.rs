//! Grafana's dashboards, by the rules of its own linter where they apply, and some of ours.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{
    catalogue::Catalogue,
    document::{items, read, text_of, words_after},
    rules::{RUNBOOK_URL, sections},
};

mod expressions;
mod layout;
mod looks;

use expressions::{in_a_unit, of_expression};

pub(super) const DASHBOARDS: &[&str] =
    &["dashboards/grafana/overview.json", "dashboards/grafana/host.json"];

/// That of Grafana 12. Grafana 11 reads it as it is, Grafana 13 brings it up to its own.
const SCHEMA_VERSION: u64 = 41;
/// Where panels and variables get metrics from.
const PROMETHEUS: &str = "${datasource}";
/// Where panels get events from.
const LOKI: &str = "${loki}";
const VARIABLES: &[&str] =
    &["datasource", "loki", "alertmanager", "job", "instance", "agent", "port"];
/// What `refresh` says of a variable that is looked up again when the time range changes.
const ON_TIME_RANGE: u64 = 2;

/// A dashboard as it was read.
pub(super) struct Dashboard {
    path: &'static str,
    json: Value,
}

impl Dashboard {
    pub(super) fn read(path: &'static str) -> Result<Self> {
        let json =
            serde_json::from_str(&read(path)?).with_context(|| format!("{path} is no JSON"))?;
        Ok(Self { path, json })
    }

    /// Every panel that shows something, those of collapsed rows included.
    fn panels(&self) -> impl Iterator<Item = &Value> {
        let of_rows = items(&self.json, "/panels").flat_map(|row| items(row, "/panels"));
        items(&self.json, "/panels").chain(of_rows).filter(|panel| text_of(panel, "/type") != "row")
    }

    /// Every expression of panels and annotations that Prometheus gets, in one of the units.
    pub(super) fn expressions(&self) -> impl Iterator<Item = String> {
        let targets = self.panels().flat_map(|panel| items(panel, "/targets"));
        let with = targets.chain(items(&self.json, "/annotations/list"));
        with.filter(|with| text_of(with, "/datasource/uid") == PROMETHEUS)
            .map(|with| in_a_unit(text_of(with, "/expr")))
    }

    /// What is wrong with it.
    pub(super) fn problems(&self, catalogue: &Catalogue) -> Result<Vec<String>> {
        let mut problems = self.frame();
        let mut titles = BTreeSet::new();
        for panel in self.panels() {
            let title = text_of(panel, "/title");
            if !titles.insert(title) {
                problems.push(format!("two panels {title:?}"));
            }
            let found = of_panel(panel, catalogue).into_iter().chain(looks::problems(panel));
            problems.extend(found.map(|problem| format!("panel {title:?}: {problem}")));
        }
        for annotation in items(&self.json, "/annotations/list") {
            let texts = [text_of(annotation, "/titleFormat"), text_of(annotation, "/textFormat")];
            let mentioned: Vec<_> = texts.iter().flat_map(|text| words_after(text, "{{")).collect();
            problems.extend(of_expression(text_of(annotation, "/expr"), &mentioned, catalogue));
        }
        problems.extend(layout::problems(&self.json));
        problems.extend(looks::dead_links(&self.json));
        problems.extend(self.anchors()?);
        Ok(problems.into_iter().map(|problem| format!("{}: {problem}", self.path)).collect())
    }

    /// What does not belong to one panel.
    fn frame(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.json["schemaVersion"] != SCHEMA_VERSION {
            problems.push(format!("schemaVersion is not {SCHEMA_VERSION}"));
        }
        if self.json["editable"] != false {
            problems.push("who edits it loses that with the next version: editable".to_owned());
        }
        // Grafana gives it an id, and one that is imported asks for what `__inputs` lists.
        for field in ["id", "__inputs", "__requires"] {
            if self.json.get(field).is_some() {
                problems.push(format!("it was exported for sharing: {field}"));
            }
        }
        for name in VARIABLES {
            let is_it = |variable: &Value| variable["name"] == *name;
            match items(&self.json, "/templating/list").find(|variable| is_it(variable)) {
                None => problems.push(format!("there is no variable {name}")),
                Some(variable) if variable["type"] == "query" => {
                    if variable["refresh"] != ON_TIME_RANGE {
                        problems.push(format!("{name} does not follow the time range"));
                    }
                }
                Some(_) => {}
            }
        }
        for source in data_sources(&self.json) {
            if ![PROMETHEUS, LOKI].contains(&source.as_str()) {
                problems.push(format!("a data source is hard-coded: {source}"));
            }
        }
        problems
    }

    /// Links into the runbook lead to a section of it.
    fn anchors(&self) -> Result<Vec<String>> {
        let sections = sections()?;
        let links = self.panels().flat_map(|panel| items(panel, "/links"));
        let of_runbook = links.filter(|link| text_of(link, "/title").starts_with("Runbook: "));
        let is_dead = |url: &str| {
            let section = url.strip_prefix(RUNBOOK_URL).and_then(|path| path.strip_prefix('/'));
            !section.is_some_and(|section| sections.iter().any(|name| name == section))
        };
        let dead = of_runbook.map(|link| text_of(link, "/url")).filter(|url| is_dead(url));
        Ok(dead.map(|url| format!("no section of the runbook is at {url}")).collect())
    }
}

fn of_panel(panel: &Value, catalogue: &Catalogue) -> Vec<String> {
    let mut problems = Vec::new();
    for (what, at) in [
        ("title", "/title"),
        ("description", "/description"),
        ("unit", "/fieldConfig/defaults/unit"),
        ("text for no value", "/fieldConfig/defaults/noValue"),
        ("data source", "/datasource/uid"),
    ] {
        if text_of(panel, at).is_empty() {
            problems.push(format!("no {what}"));
        }
    }
    if items(panel, "/targets").next().is_none() {
        problems.push("no target".to_owned());
    }
    for target in items(panel, "/targets") {
        if target["datasource"] != panel["datasource"] {
            problems.push("a target has another data source".to_owned());
        }
        if text_of(target, "/datasource/uid") == PROMETHEUS {
            let mentioned = words_after(text_of(target, "/legendFormat"), "{{");
            problems.extend(of_expression(text_of(target, "/expr"), &mentioned, catalogue));
        }
    }
    problems
}

/// The uid of every data source that is named anywhere.
fn data_sources(json: &Value) -> Vec<String> {
    match json {
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(key, value)| match (key.as_str(), value) {
                ("datasource", Value::Object(source)) => {
                    vec![source.get("uid").and_then(Value::as_str).unwrap_or_default().to_owned()]
                }
                ("datasource", Value::String(name)) => vec![name.clone()],
                _ => data_sources(value),
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(data_sources).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_sources_are_found_everywhere() {
        let json =
            serde_json::json!({"panels": [{"datasource": {"uid": "abc"}}], "datasource": "x"});
        let mut found = data_sources(&json);
        found.sort();
        assert_eq!(found, ["abc", "x"]);
    }
}
