//! Grafana's dashboards, by the rules of its own linter where they apply, and some of ours.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use metric_names::promql::uses;
use serde_json::Value;

use super::{
    catalogue::Catalogue,
    document::{items, read, text_of, words_after},
    rules::{RUNBOOK_URL, sections},
};

pub(super) const DASHBOARDS: &[&str] =
    &["dashboards/grafana/overview.json", "dashboards/grafana/host.json"];

/// That of Grafana 13.
const SCHEMA_VERSION: u64 = 42;
const DATA_SOURCE: &str = "${datasource}";
const VARIABLES: &[&str] = &["datasource", "job", "instance", "agent", "port"];
/// Grafana chooses it by the scrape interval and by what is shown.
const RANGE: &str = "$__rate_interval";
/// Metrics with the range of their alerts. The first grows while no agent can be scraped, and four
/// scrapes after a gap all have the same value; the second is the last that an absent agent left.
const LONGER: [(&str, &str); 2] =
    [("ghostport_coverage_gap_seconds_total", "6h"), ("ghostport_build_info", "1d")];
/// Metrics of listeners, which are on any port: the variable `port` has the watched ones.
const OF_ANY_PORT: &str = "ghostport_listener";
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

    fn panels(&self) -> impl Iterator<Item = &Value> {
        items(&self.json, "/panels").filter(|panel| text_of(panel, "/type") != "row")
    }

    /// Every expression of panels and annotations.
    pub(super) fn expressions(&self) -> impl Iterator<Item = &str> {
        let targets = self.panels().flat_map(|panel| items(panel, "/targets"));
        targets.chain(items(&self.json, "/annotations/list")).map(|with| text_of(with, "/expr"))
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
            let found = of_panel(panel, catalogue);
            problems.extend(found.into_iter().map(|problem| format!("panel {title:?}: {problem}")));
        }
        for annotation in items(&self.json, "/annotations/list") {
            let texts = [text_of(annotation, "/titleFormat"), text_of(annotation, "/textFormat")];
            let mentioned: Vec<_> = texts.iter().flat_map(|text| words_after(text, "{{")).collect();
            problems.extend(of_expression(text_of(annotation, "/expr"), &mentioned, catalogue));
        }
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
            if source != DATA_SOURCE {
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
        let expression = text_of(target, "/expr");
        let mentioned = words_after(text_of(target, "/legendFormat"), "{{");
        problems.extend(of_expression(expression, &mentioned, catalogue));
        if target["datasource"]["uid"] != DATA_SOURCE {
            problems.push("a target has no data source".to_owned());
        }
    }
    problems
}

fn of_expression(expression: &str, mentioned: &[String], catalogue: &Catalogue) -> Vec<String> {
    let mut problems = catalogue.problems(expression, mentioned);
    let uses = uses(expression);
    let is_longer = |metric: &str| {
        let mut ranged = uses.selectors.iter().filter(|selector| selector.ranged).peekable();
        ranged.peek().is_some() && ranged.all(|selector| selector.metric == metric)
    };
    let longer = LONGER.iter().find(|(metric, _)| is_longer(metric));
    let wanted = longer.map_or(RANGE, |(_, range)| range);
    for range in uses.ranges.iter().filter(|range| *range != wanted) {
        problems.push(format!("the range is not {wanted}: {range}"));
    }
    for selector in &uses.selectors {
        let metric = &selector.metric;
        if catalogue.is_counter(metric) && !selector.ranged {
            problems.push(format!("{metric} is a counter: show its rate or increase"));
        }
        for variable in ["job", "instance", "port"] {
            let follows = |(label, value): &(String, String)| {
                label == variable && *value == format!("${variable}")
            };
            let has = catalogue.labels_of(metric).any(|label| label == variable)
                && (variable != "port" || !metric.starts_with(OF_ANY_PORT));
            if has && !selector.labels.iter().any(follows) {
                problems.push(format!("{metric} does not follow the variable {variable}"));
            }
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
    fn what_a_panel_may_not_do_is_told() {
        let catalogue = Catalogue::new();
        let problems = |expression: &str| of_expression(expression, &[], &catalogue);
        let good = r#"rate(ghostport_listens_total{job=~"$job",instance=~"$instance",port=~"$port"}[$__rate_interval])"#;
        assert_eq!(problems(good), Vec::<String>::new());
        let with = |from: &str, to: &str| problems(&good.replace(from, to)).len();
        assert_eq!(with("$__rate_interval", "5m"), 1);
        assert_eq!(with("[$__rate_interval]", ""), 1);
        assert_eq!(with(r#"job=~"$job","#, ""), 1);
        assert_eq!(with(r#""$instance""#, r#""web1""#), 1);
        assert_eq!(with("ghostport_listens_total", "ghostport_listens"), 1);
        let gap = r#"increase(ghostport_coverage_gap_seconds_total{job=~"$job",instance=~"$instance"}[6h])"#;
        assert_eq!(problems(gap), Vec::<String>::new());
        assert_eq!(problems(&gap.replace("6h", "$__rate_interval")).len(), 1);
    }

    #[test]
    fn data_sources_are_found_everywhere() {
        let json =
            serde_json::json!({"panels": [{"datasource": {"uid": "abc"}}], "datasource": "x"});
        let mut found = data_sources(&json);
        found.sort();
        assert_eq!(found, ["abc", "x"]);
    }
}
