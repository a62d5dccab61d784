//! What operators import: dashboards, rules and alerts use metrics and labels that exist, and say all
//! that their reader needs.

use std::{fmt::Write as _, fs, process::Command};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::outcome::Outcome;
use crate::{
    servers,
    workspace::{root, target_dir},
};

mod catalogue;
mod document;
mod grafana;
mod rules;

/// Names: every metric, label and link exists, and nothing is missing that has to be there.
pub(super) fn hold() -> Result<Outcome> {
    let mut catalogue = catalogue::Catalogue::new();
    let mut problems = Vec::new();
    problems.extend(rules::check(&mut catalogue)?);
    for path in grafana::DASHBOARDS {
        problems.extend(grafana::Dashboard::read(path)?.problems(&catalogue)?);
    }
    Ok(Outcome::from_problems(problems))
}

/// Grammar: promtool reads every expression, those of the dashboards as rules that it is given.
pub(super) fn parse() -> Result<Outcome> {
    let Some(promtool) = servers::find("promtool") else {
        return Ok(Outcome::Skipped("promtool is not installed: cargo xtask setup".to_owned()));
    };
    let file = target_dir()?.join("dashboards.rules.yml");
    fs::write(&file, as_rules()?).with_context(|| format!("cannot write {}", file.display()))?;
    let mut command = Command::new(promtool);
    command.args(["check", "rules"]).arg(&file).current_dir(root());
    Outcome::of(
        command.args(["dashboards/prometheus/recording.yml", "dashboards/prometheus/alerts.yml"]),
    )
}

/// A file of rules with every expression of the dashboards. Its strings are JSON, which YAML reads.
fn as_rules() -> Result<String> {
    let mut rules = String::new();
    for path in grafana::DASHBOARDS {
        let dashboard = grafana::Dashboard::read(path)?;
        writeln!(
            rules,
            "{}- name: {path}\n  rules:",
            if rules.is_empty() { "groups:\n" } else { "" }
        )?;
        for (number, expression) in dashboard.expressions().enumerate() {
            let expression = expression.replace("$__rate_interval", "1m").replace("$__range", "1d");
            writeln!(rules, "  - record: panel_{number}\n    expr: {}", Value::from(expression))?;
        }
    }
    Ok(rules)
}
