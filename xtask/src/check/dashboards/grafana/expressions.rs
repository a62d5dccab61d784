//! Expressions of PromQL: they follow the variables, and their ranges fit what is shown.

use metric_names::promql::uses;

use super::super::catalogue::Catalogue;

/// Grafana chooses it by the scrape interval and by what is shown.
const RANGE: &str = "$__rate_interval";
/// Metrics with the range of their own. The first grows while no agent can be scraped, and four
/// scrapes after a gap all have the same value; the second is the last that an absent agent left; the
/// third is a state, of which a panel asks what was worst in all that it shows.
const LONGER: [(&str, &str); 3] = [
    ("ghostport_coverage_gap_seconds_total", "6h"),
    ("ghostport_build_info", "1d"),
    ("instance_port:ghostport_port_state:rank", "$__range"),
];
/// Metrics of listeners, which are on any port: the variable `port` has the watched ones.
const OF_ANY_PORT: &str = "ghostport_listener";
/// Of which traffic is shown in one of two units: each has the same labels.
const UNIT: (&str, &str) = ("${unit}", "packets");

/// An expression with a unit chosen.
pub(super) fn in_a_unit(expression: &str) -> String {
    expression.replace(UNIT.0, UNIT.1)
}

pub(super) fn of_expression(
    expression: &str,
    mentioned: &[String],
    catalogue: &Catalogue,
) -> Vec<String> {
    let expression = in_a_unit(expression);
    let mut problems = catalogue.problems(&expression, mentioned);
    let uses = uses(&expression);
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
        let worst = r#"max_over_time(instance_port:ghostport_port_state:rank{job=~"$job",instance=~"$instance",port=~"$port"}[$__range] @ end())"#;
        let mut catalogue = Catalogue::new();
        catalogue.record("instance_port:ghostport_port_state:rank").expect("a metric");
        assert_eq!(of_expression(worst, &[], &catalogue), Vec::<String>::new());
        assert_eq!(of_expression(&worst.replace("$__range", "1d"), &[], &catalogue).len(), 1);
        let in_units = good.replace("listens", "closes").replace("closes_total", "${unit}_total");
        assert_eq!(problems(&in_units), Vec::<String>::new());
    }
}
