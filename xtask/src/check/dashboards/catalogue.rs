//! Which metrics there are, and with which labels.

use std::collections::{BTreeMap, BTreeSet};

use metric_names::promql::{Selector, uses};
use prometheus::proto::MetricType;

/// What Prometheus adds to a series by its scrape.
const TARGET_LABELS: &[&str] = &["instance", "job"];

/// Metrics and their labels: the agent's, those that rules record, and those of Prometheus itself.
pub(super) struct Catalogue {
    labels: BTreeMap<String, BTreeSet<String>>,
    counters: BTreeSet<String>,
}

impl Catalogue {
    /// The agent's metrics, and Prometheus' own.
    pub(super) fn new() -> Self {
        let mut catalogue = Self { labels: BTreeMap::new(), counters: BTreeSet::new() };
        for metric in metric_names::ALL {
            catalogue.add(metric.name, metric.labels);
            if metric.kind == MetricType::COUNTER {
                catalogue.counters.insert(metric.name.to_owned());
            }
        }
        catalogue.add("up", &[]);
        catalogue.add("ALERTS", &["alertname", "alertstate", "severity", "port"]);
        catalogue.add("ALERTS_FOR_STATE", &["alertname", "severity", "port"]);
        catalogue
    }

    /// Adds what a rule records, `level:metric:operations`; says what is wrong with its name.
    pub(super) fn record(&mut self, name: &str) -> Result<(), String> {
        let parts: Vec<_> = name.split(':').collect();
        let [level, metric, _] = parts.as_slice() else {
            return Err(format!("{name} is not level:metric:operations"));
        };
        let of = [(*metric).to_owned(), format!("{metric}_total")];
        let Some(known) = of.iter().find_map(|metric| self.labels.get(metric)) else {
            return Err(format!("{name} is of no metric"));
        };
        let labels: BTreeSet<_> = level.split('_').map(str::to_owned).collect();
        let is_known = |label: &&String| known.contains(*label);
        if let Some(label) = labels.iter().find(|label| !is_known(label)) {
            return Err(format!("{name}: {metric} has no label {label}"));
        }
        // Rules of one host keep the labels of its target.
        let job = ["job".to_owned()];
        self.labels.insert(name.to_owned(), labels.into_iter().chain(job).collect());
        Ok(())
    }

    fn add(&mut self, name: &str, labels: &[&str]) {
        let labels = labels.iter().chain(TARGET_LABELS).map(|label| (*label).to_owned());
        self.labels.insert(name.to_owned(), labels.collect());
    }

    /// Whether it is a counter of the agent.
    pub(super) fn is_counter(&self, metric: &str) -> bool {
        self.counters.contains(metric)
    }

    /// Labels of a metric; none of one that is not known.
    pub(super) fn labels_of(&self, metric: &str) -> impl Iterator<Item = &str> {
        self.labels.get(metric).into_iter().flatten().map(String::as_str)
    }

    /// What an expression uses that does not exist. `mentioned` are labels that a text beside it
    /// names, a legend for instance.
    pub(super) fn problems(&self, expression: &str, mentioned: &[String]) -> Vec<String> {
        let uses = uses(expression);
        let mut problems: Vec<_> =
            uses.selectors.iter().flat_map(|selector| self.problems_of(selector)).collect();
        if uses.selectors.is_empty() {
            problems.push("the expression uses no metric".to_owned());
        }
        for label in uses.groupings.iter().chain(mentioned) {
            let has =
                |selector: &Selector| self.labels_of(&selector.metric).any(|has| has == label);
            if !uses.selectors.iter().any(has) {
                problems.push(format!("no metric of the expression has a label {label}"));
            }
        }
        problems
    }

    fn problems_of(&self, selector: &Selector) -> Vec<String> {
        let metric = &selector.metric;
        let Some(known) = self.labels.get(metric) else {
            return vec![format!("there is no metric {metric}")];
        };
        let labels = selector.labels.iter().map(|(label, _)| label);
        let unknown = labels.filter(|label| !known.contains(*label));
        unknown.map(|label| format!("{metric} has no label {label}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_what_does_not_exist() {
        let mut catalogue = Catalogue::new();
        let problems = |expression: &str| catalogue.problems(expression, &[]);
        assert!(problems("sum by (instance, port) (ghostport_dormant{job=\"a\"})").is_empty());
        assert_eq!(problems("ghostport_dormnt"), ["there is no metric ghostport_dormnt"]);
        let state = problems("ghostport_dormant{state=\"x\"}");
        assert_eq!(state, ["ghostport_dormant has no label state"]);
        let pid = problems("sum by (pid) (ghostport_dormant)");
        assert_eq!(pid, ["no metric of the expression has a label pid"]);
        let mentioned = catalogue.problems("ghostport_dormant", &["verdict".to_owned()]);
        assert_eq!(mentioned, ["no metric of the expression has a label verdict"]);
        assert_eq!(catalogue.record("job_port:ghostport_dormant:sum"), Ok(()));
        assert!(catalogue.record("job_pid:ghostport_dormant:sum").is_err());
        assert!(catalogue.record("job_port:ghostport_dormnt:sum").is_err());
        assert!(catalogue.record("ghostport_dormant:sum").is_err());
    }
}
