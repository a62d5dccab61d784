//! Grafana's dashboards, as what they ask of Prometheus.

use std::fs;

use serde_json::{Value, json};

use super::{
    prometheus::{Prometheus, Span},
    servers::dashboards,
};

/// What Grafana asks for a panel, an annotation or a variable.
pub struct Question {
    /// Title of the panel, or name of the annotation or variable.
    pub title: String,
    /// The expression, with the variables replaced but for the range of time that is shown.
    pub expression: String,
    /// Whether it is asked for now, not for a range of time.
    pub at_once: bool,
    /// Whether it is asked only once its row is opened.
    pub is_folded: bool,
}

impl Question {
    fn new(title: &str, expression: &str, at_once: bool, four_scrapes: &str) -> Self {
        let expression = expression
            .replace("$__rate_interval", four_scrapes)
            .replace("$instance", ".*")
            .replace("$job", "ghostport")
            .replace("$port", ".*");
        Self { title: title.to_owned(), expression, at_once, is_folded: false }
    }

    /// Asks it over a span of time, or at its end if it is asked for now.
    pub fn ask(&self, prometheus: &Prometheus, span: &Span) -> Vec<Value> {
        let expression = self.expression.replace("$__range", &format!("{}s", span.seconds));
        if self.at_once {
            prometheus.query_at(&expression, span.end)
        } else {
            prometheus.query_range(&expression, span)
        }
    }

    /// Every number of the answer; what is not a number is nothing to draw.
    pub fn numbers(&self, prometheus: &Prometheus, span: &Span) -> Vec<f64> {
        let answer = self.ask(prometheus, span);
        let points = answer.iter().flat_map(|series| {
            let values = series["values"].as_array().into_iter().flatten();
            values.chain(series.get("value"))
        });
        let number = |point: &Value| point[1].as_str()?.parse::<f64>().ok();
        points.filter_map(number).filter(|number| !number.is_nan()).collect()
    }
}

/// The units of which a viewer chooses one.
const UNITS: [&str; 2] = ["packets", "bytes"];
const UNIT: &str = "${unit}";

/// Everything that a dashboard asks of Prometheus, of all hosts and ports and in every unit.
/// `$__rate_interval` is four scrapes.
pub fn questions(name: &str, four_scrapes: &str) -> Vec<Question> {
    let mut dashboard = read(name);
    let mut questions = Vec::new();
    for_each_panel(&mut dashboard, |panel, is_folded| {
        for target in list(&panel["targets"]).iter().filter(|target| asks_prometheus(target)) {
            let expression = text(&target["expr"]);
            let units = if expression.contains(UNIT) { &UNITS[..] } else { &UNITS[..1] };
            questions.extend(units.iter().map(|unit| Question {
                is_folded,
                ..Question::new(
                    &text(&panel["title"]),
                    &expression.replace(UNIT, unit),
                    target["instant"] == true,
                    four_scrapes,
                )
            }));
        }
    });
    for annotation in list(&dashboard["annotations"]["list"]) {
        let title = text(&annotation["name"]);
        questions.push(Question::new(&title, &text(&annotation["expr"]), false, four_scrapes));
    }
    for variable in list(&dashboard["templating"]["list"]) {
        if let Some(definition) = variable["definition"].as_str() {
            let expression = asked_of(definition);
            questions.push(Question::new(
                &text(&variable["name"]),
                &expression,
                true,
                four_scrapes,
            ));
        }
    }
    assert!(questions.len() > 20, "{} questions", questions.len());
    questions
}

/// What a variable asks: which values a label has, or an expression.
fn asked_of(definition: &str) -> String {
    let inside = |function: &str| definition.strip_prefix(function)?.strip_suffix(')');
    let labels = inside("label_values(").and_then(|inside| inside.rsplit_once(", "));
    match labels {
        Some((selector, label)) => format!("count by ({label}) ({selector})"),
        None => inside("query_result(").expect(definition).to_owned(),
    }
}

/// A dashboard that has, in `result` of each target and annotation, what Prometheus says of hosts (a
/// regular expression) in a span of time. `$__rate_interval` is four scrapes.
pub fn answered(
    name: &str,
    hosts: &str,
    prometheus: &Prometheus,
    span: &Span,
    four_scrapes: &str,
) -> Value {
    let mut dashboard = read(name);
    for_each_panel(&mut dashboard, |panel, _| {
        let targets = panel.get_mut("targets").and_then(Value::as_array_mut);
        for target in targets.into_iter().flatten().filter(|target| asks_prometheus(target)) {
            let expression =
                text(&target["expr"]).replace(UNIT, UNITS[0]).replace("$instance", hosts);
            let question = Question::new("", &expression, target["instant"] == true, four_scrapes);
            target["result"] = question.ask(prometheus, span).into();
        }
    });
    for annotation in dashboard["annotations"]["list"].as_array_mut().into_iter().flatten() {
        let expression = text(&annotation["expr"]).replace("$instance", hosts);
        let question = Question::new("", &expression, false, four_scrapes);
        annotation["result"] = question.ask(prometheus, span).into();
    }
    dashboard["span"] = json!({ "from": span.start(), "to": span.end, "step": span.step });
    dashboard
}

/// Calls back with every panel, those in rows that are collapsed included, and whether it is in one.
pub fn for_each_panel(dashboard: &mut Value, mut each: impl FnMut(&mut Value, bool)) {
    for panel in dashboard["panels"].as_array_mut().expect("panels") {
        let inner = panel.get_mut("panels").and_then(Value::as_array_mut);
        inner.into_iter().flatten().for_each(|panel| each(panel, true));
        each(panel, false);
    }
}

fn asks_prometheus(target: &Value) -> bool {
    target["datasource"]["type"] == "prometheus"
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn read(name: &str) -> Value {
    let path = dashboards().join(format!("grafana/{name}.json"));
    serde_json::from_str(&fs::read_to_string(path).expect("a dashboard")).expect("JSON")
}
