//! Where panels are, and how many of them ask something at once.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::document::{items, text_of};

/// Columns of Grafana's grid.
const COLUMNS: u64 = 24;
/// What Grafana has had since version 11 and still has.
const TYPES: &[&str] =
    &["logs", "row", "stat", "state-timeline", "status-history", "table", "timeseries"];
/// Queries of a dashboard that was just opened: of its panels, annotations and variables.
const AT_FIRST: usize = 24;

/// What is wrong with the places of its panels.
pub(super) fn problems(dashboard: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    let mut ids = BTreeSet::new();
    let rows = items(dashboard, "/panels");
    let everything: Vec<_> =
        rows.flat_map(|panel| items(panel, "/panels").chain([panel])).collect();
    for panel in &everything {
        let title = text_of(panel, "/title");
        if !panel["id"].as_u64().is_some_and(|id| ids.insert(id)) {
            problems.push(format!("the id of {title:?} is missing or another panel's"));
        }
        if !TYPES.contains(&text_of(panel, "/type")) {
            problems.push(format!("{title:?} is of an unknown type {}", panel["type"]));
        }
        if panel["type"] == "row" && panel["collapsed"] != items(panel, "/panels").next().is_some()
        {
            problems.push(format!("row {title:?} is collapsed and empty, or open and has panels"));
        }
    }
    for group in [dashboard].into_iter().chain(everything.iter().copied()) {
        problems.extend(overlaps(&items(group, "/panels").collect::<Vec<_>>()));
    }
    let queries = queries_at_first(dashboard);
    if queries > AT_FIRST {
        problems.push(format!("{queries} queries when it is opened, more than {AT_FIRST}"));
    }
    problems
}

/// Panels that lie on one another, or beside the grid.
fn overlaps(panels: &[&Value]) -> Vec<String> {
    let place = |panel: &Value| {
        let number = |name: &str| panel["gridPos"][name].as_u64().unwrap_or_default();
        (number("x"), number("y"), number("w"), number("h"))
    };
    let mut problems = Vec::new();
    for (number, panel) in panels.iter().enumerate() {
        let title = text_of(panel, "/title");
        let (x, y, w, h) = place(panel);
        if w == 0 || h == 0 || x + w > COLUMNS {
            problems.push(format!("{title:?} is not on the grid"));
        }
        for other in &panels[..number] {
            let (left, top, width, height) = place(other);
            if x < left + width && left < x + w && y < top + height && top < y + h {
                problems.push(format!("{title:?} lies on {:?}", text_of(other, "/title")));
            }
        }
    }
    problems
}

/// Panels of collapsed rows ask when their row is opened.
fn queries_at_first(dashboard: &Value) -> usize {
    let targets = items(dashboard, "/panels").flat_map(|panel| items(panel, "/targets"));
    let variables = items(dashboard, "/templating/list").filter(|one| one["type"] == "query");
    targets.chain(variables).chain(items(dashboard, "/annotations/list")).count()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn panel(id: u64, [x, y, w, h]: [u64; 4]) -> Value {
        json!({"id": id, "type": "stat", "title": id.to_string(), "targets": [{}],
               "gridPos": {"x": x, "y": y, "w": w, "h": h}})
    }

    #[test]
    fn finds_panels_that_overlap_and_ids_that_are_taken() {
        let beside = json!({"panels": [panel(1, [0, 0, 12, 4]), panel(2, [12, 0, 12, 4])]});
        assert_eq!(problems(&beside), Vec::<String>::new());
        let wrong = json!({"panels": [panel(1, [0, 0, 12, 4]), panel(1, [11, 3, 14, 4])]});
        assert_eq!(problems(&wrong).len(), 3);
    }

    #[test]
    fn collapsed_rows_ask_nothing_at_first() {
        let row = json!({"id": 9, "type": "row", "title": "row", "collapsed": true,
            "gridPos": {"x": 0, "y": 4, "w": 24, "h": 1}, "panels": [panel(2, [0, 5, 12, 4])]});
        let dashboard = json!({"panels": [panel(1, [0, 0, 12, 4]), row],
            "annotations": {"list": [{}]},
            "templating": {"list": [{"type": "query"}, {"type": "custom"}]}});
        assert_eq!(problems(&dashboard), Vec::<String>::new());
        assert_eq!(queries_at_first(&dashboard), 3);
    }
}
