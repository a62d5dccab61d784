//! Recording rules, alerts, and the runbook that goes with them.

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{
    catalogue::Catalogue,
    document::{items, read, text_of, words_after},
};

const RECORDING: &str = "dashboards/prometheus/recording.yml";
const ALERTS: &str = "dashboards/prometheus/alerts.yml";
const RUNBOOK: &str = "docs/runbook.md";

/// Alerts of the agent's sink that no rule has: there is no metric of them.
const AGENT_ALERTS: [&str; 1] = ["GhostportPortCaptured"];

/// Where panels say that the runbook is: at an agent, which serves it.
pub(super) const RUNBOOK_URL: &str = "http://${agent:raw}/runbook";

/// Where agents serve a section of the runbook: what the links of alerts contain.
const RUNBOOK_PATH: &str = "/runbook/";

const SEVERITIES: &[&str] = &["critical", "warning", "info"];

/// Checks them all; what is recorded goes into the catalogue.
pub(super) fn check(catalogue: &mut Catalogue) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    let recording = rules(RECORDING)?;
    for rule in &recording {
        problems.extend(catalogue.record(text_of(rule, "/record")).err());
    }
    let alerts = rules(ALERTS)?;
    for rule in recording.iter().chain(&alerts) {
        let name = [text_of(rule, "/record"), text_of(rule, "/alert")].concat();
        let mentioned: Vec<_> = items(rule, "/annotations")
            .filter_map(Value::as_str)
            .flat_map(|text| words_after(text, "$labels."))
            .collect();
        let found = catalogue.problems(text_of(rule, "/expr"), &mentioned);
        problems.extend(found.into_iter().map(|problem| format!("{name}: {problem}")));
    }
    let sections = sections()?;
    for alert in &alerts {
        problems.extend(lacks(alert, &sections));
    }
    let names: Vec<_> = alerts.iter().map(|alert| text_of(alert, "/alert")).collect();
    let known = |section: &str| names.contains(&section) || AGENT_ALERTS.contains(&section);
    let stale = sections.iter().filter(|section| !known(section));
    problems.extend(stale.map(|section| format!("{RUNBOOK}: there is no alert {section}")));
    problems.extend(untested(&recording, &names)?);
    Ok(problems)
}

fn rules(path: &str) -> Result<Vec<Value>> {
    let file: Value = yaml(path)?;
    let groups: Vec<_> = items(&file, "/groups").cloned().collect();
    Ok(groups.iter().flat_map(|group| items(group, "/rules").cloned()).collect())
}

fn yaml(path: &str) -> Result<Value> {
    serde_saphyr::from_str(&read(path)?).with_context(|| format!("{path} is no YAML"))
}

/// Headings of the second level, each of which is an alert's.
pub(super) fn sections() -> Result<Vec<String>> {
    let runbook = read(RUNBOOK)?;
    Ok(runbook.lines().filter_map(|line| line.strip_prefix("## ")).map(str::to_owned).collect())
}

/// What an alert lacks that its receiver needs.
fn lacks(alert: &Value, sections: &[String]) -> Vec<String> {
    let name = text_of(alert, "/alert");
    let mut problems = Vec::new();
    if !SEVERITIES.contains(&text_of(alert, "/labels/severity")) {
        problems.push(format!("{name}: severity is none of {SEVERITIES:?}"));
    }
    for annotation in ["summary", "description"] {
        if text_of(alert, &format!("/annotations/{annotation}")).is_empty() {
            problems.push(format!("{name} has no {annotation}"));
        }
    }
    let path = format!("{RUNBOOK_PATH}{name}");
    for (annotation, part) in [("runbook_url", &*path), ("dashboard_url", "$externalURL")] {
        let url = text_of(alert, &format!("/annotations/{annotation}"));
        if !url.contains(part) {
            problems.push(format!("{name}: {annotation} has no {part}"));
        }
        if url.split("://").skip(1).any(|host| !host.starts_with("{{")) {
            problems.push(format!("{name}: {annotation} names a host: {url}"));
        }
    }
    if !sections.iter().any(|section| section == name) {
        problems.push(format!("{RUNBOOK} has no section {name}"));
    }
    problems
}

/// Rules that no test of promtool is about: an alert has to be seen to fire, and not to.
fn untested(recording: &[Value], alerts: &[&str]) -> Result<Vec<String>> {
    let tests: Value = yaml("dashboards/prometheus/tests/alerts_test.yml")?;
    let cases: Vec<_> =
        items(&tests, "/tests").flat_map(|test| items(test, "/alert_rule_test")).collect();
    let mut problems = Vec::new();
    for alert in alerts {
        for (fires, what) in [(true, "firing"), (false, "silent")] {
            let seen = cases.iter().any(|case| {
                text_of(case, "/alertname") == *alert
                    && (items(case, "/exp_alerts").next().is_some() == fires)
            });
            if !seen {
                problems.push(format!("{alert} is never tested {what}"));
            }
        }
    }
    let tests: Value = yaml("dashboards/prometheus/tests/recording_test.yml")?;
    let cases: Vec<_> =
        items(&tests, "/tests").flat_map(|test| items(test, "/promql_expr_test")).collect();
    let names = recording.iter().map(|rule| text_of(rule, "/record"));
    let untested = names.filter(|name| !cases.iter().any(|case| text_of(case, "/expr") == *name));
    problems.extend(untested.map(|name| format!("{name} is never tested")));
    Ok(problems)
}
