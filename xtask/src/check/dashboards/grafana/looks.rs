//! What means the same looks the same, and links use what there is.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::document::{items, text_of, words_after};

/// States of a port, each with its colour wherever it is drawn.
const STATES: [(&str, &str); 8] = [
    ("quiet", "#808080"),
    ("transit", "light-blue"),
    ("probed", "blue"),
    ("attempted", "yellow"),
    ("outbound", "purple"),
    ("bound", "orange"),
    ("answered", "dark-red"),
    ("served", "red"),
];

/// The colour of `quiet` where it fills a row: a grey that steps back.
const FAINT: &str = "rgba(128, 128, 128, 0.35)";

/// Variables that Grafana has by itself.
const BUILT_IN: [&str; 4] = ["__url_time_range", "__value", "__data", "__field"];

/// What is wrong with the colours and the columns of a panel.
pub(super) fn problems(panel: &Value) -> Vec<String> {
    let mut problems = wrong_colours(panel);
    if panel["type"] == "table" {
        problems.extend(lost_columns(panel));
    }
    problems
}

/// States that are drawn in another colour than elsewhere.
fn wrong_colours(value: &Value) -> Vec<String> {
    let colour_of = |state: &str| STATES.iter().find(|(name, _)| *name == state);
    let mut problems = Vec::new();
    if let Some((state, colour)) = colour_of(text_of(value, "/text"))
        && value["color"] != *colour
        && !(*state == "quiet" && value["color"] == FAINT)
    {
        problems.push(format!("state {state} has the colour {}, not {colour}", value["color"]));
    }
    if let Some((state, colour)) = colour_of(text_of(value, "/matcher/options")) {
        let fixed = items(value, "/properties").find(|property| property["id"] == "color");
        if fixed.is_some_and(|fixed| fixed["value"]["fixedColor"] != *colour) {
            problems.push(format!("series {state} has not the colour {colour}"));
        }
    }
    let inner: Vec<_> = items(value, "").collect();
    problems.extend(inner.into_iter().flat_map(wrong_colours));
    problems
}

/// Overrides and sorting of a table by columns that it does not have.
fn lost_columns(table: &Value) -> Vec<String> {
    let organize = items(table, "/transformations").find(|one| one["id"] == "organize");
    let Some(organize) = organize else { return vec!["its columns have no order".to_owned()] };
    let renamed = organize["options"]["renameByName"].as_object().into_iter().flatten();
    let order = organize["options"]["indexByName"].as_object().into_iter().flatten();
    let names: BTreeSet<_> = renamed
        .filter_map(|(_, name)| name.as_str())
        .chain(order.map(|(name, _)| name.as_str()))
        .collect();
    let overridden = items(table, "/fieldConfig/overrides")
        .filter(|one| text_of(one, "/matcher/id") == "byName")
        .map(|one| text_of(one, "/matcher/options"));
    let sorted = items(table, "/options/sortBy").map(|one| text_of(one, "/displayName"));
    let lost = overridden.chain(sorted).filter(|name| !names.contains(name));
    lost.map(|name| format!("there is no column {name:?}")).collect()
}

/// Variables in links that the dashboard does not have.
pub(super) fn dead_links(dashboard: &Value) -> Vec<String> {
    let known: BTreeSet<_> =
        items(dashboard, "/templating/list").map(|variable| text_of(variable, "/name")).collect();
    let mut urls = Vec::new();
    collect_urls(dashboard, &mut urls);
    let used = urls.iter().flat_map(|url| words_after(url, "${"));
    let dead = used.filter(|name| !known.contains(&**name) && !BUILT_IN.contains(&&**name));
    dead.map(|name| format!("a link uses a variable that is not there: {name}")).collect()
}

fn collect_urls<'a>(value: &'a Value, urls: &mut Vec<&'a str>) {
    if let Some(url) = value.get("url").and_then(Value::as_str) {
        urls.push(url);
    }
    items(value, "").for_each(|inner| collect_urls(inner, urls));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_state_has_one_colour() {
        let mapping =
            |colour| json!({"mappings": [{"options": {"7": {"text": "served", "color": colour}}}]});
        assert_eq!(wrong_colours(&mapping("red")), Vec::<String>::new());
        assert_eq!(wrong_colours(&mapping("green")).len(), 1);
        assert_eq!(wrong_colours(&mapping(FAINT)).len(), 1);
        let series = |colour| {
            json!({"overrides": [{"matcher": {"options": "probed"},
            "properties": [{"id": "color", "value": {"fixedColor": colour}}]}]})
        };
        assert_eq!(wrong_colours(&series("blue")), Vec::<String>::new());
        assert_eq!(wrong_colours(&series("red")).len(), 1);
    }

    #[test]
    fn finds_columns_that_are_not_there() {
        let table = |column| {
            json!({"type": "table",
            "transformations": [{"id": "organize", "options": {"renameByName": {"port": "Port"}}}],
            "fieldConfig": {"overrides": [{"matcher": {"id": "byName", "options": column}}]}})
        };
        assert_eq!(lost_columns(&table("Port")), Vec::<String>::new());
        assert_eq!(lost_columns(&table("port")).len(), 1);
    }

    #[test]
    fn finds_variables_of_links_that_are_not_there() {
        let dashboard =
            |url| json!({"templating": {"list": [{"name": "job"}]}, "links": [{"url": url}]});
        assert!(dead_links(&dashboard("/d/x?${job:queryparam}&${__url_time_range}")).is_empty());
        assert_eq!(dead_links(&dashboard("/d/x?var-host=${host}")).len(), 1);
    }
}
