//! Grafana's dashboards, as what they ask of Prometheus.

use std::fs;

use serde_json::Value;

use super::{
    prometheus::{Prometheus, Span},
    servers::dashboards,
};

/// What Grafana asks for a panel, an annotation or a variable.
pub struct Question {
    /// Title of the panel, or name of the annotation or variable.
    pub title: String,
    /// The expression, with the variables replaced.
    pub expression: String,
    /// Whether it is asked for now, not for a range of time.
    pub at_once: bool,
}

impl Question {
    fn new(title: &str, expression: &str, at_once: bool, four_scrapes: &str) -> Self {
        let expression = expression
            .replace("$__rate_interval", four_scrapes)
            .replace("$instance", ".*")
            .replace("$job", "ghostport")
            .replace("$port", ".*");
        Self { title: title.to_owned(), expression, at_once }
    }

    /// Asks it over a span of time, or at its end if it is asked for now.
    pub fn ask(&self, prometheus: &Prometheus, span: &Span) -> Vec<Value> {
        if self.at_once {
            prometheus.query_at(&self.expression, span.end)
        } else {
            prometheus.query_range(&self.expression, span)
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

/// Everything that a dashboard asks, of all hosts and ports. `$__rate_interval` is four scrapes.
pub fn questions(name: &str, four_scrapes: &str) -> Vec<Question> {
    let dashboard = read(name);
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut questions = Vec::new();
    for panel in list(&dashboard["panels"]) {
        for target in list(&panel["targets"]) {
            let at_once = target["instant"] == true;
            questions.push(Question::new(
                &text(&panel["title"]),
                &text(&target["expr"]),
                at_once,
                four_scrapes,
            ));
        }
    }
    for annotation in list(&dashboard["annotations"]["list"]) {
        let title = text(&annotation["name"]);
        questions.push(Question::new(&title, &text(&annotation["expr"]), false, four_scrapes));
    }
    for variable in list(&dashboard["templating"]["list"]) {
        if let Some(definition) = variable["definition"].as_str() {
            let inside =
                definition.strip_prefix("label_values(").and_then(|it| it.strip_suffix(')'));
            let (selector, label) = inside.and_then(|it| it.rsplit_once(", ")).expect(definition);
            let expression = format!("count by ({label}) ({selector})");
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

/// A dashboard that has, in `result` of each target, what Prometheus says of a span of time.
/// `$__rate_interval` is four scrapes.
pub fn answered(name: &str, prometheus: &Prometheus, span: &Span, four_scrapes: &str) -> Value {
    let mut dashboard = read(name);
    for panel in dashboard["panels"].as_array_mut().expect("panels") {
        let targets = panel.get_mut("targets").and_then(Value::as_array_mut);
        for target in targets.into_iter().flatten() {
            let expression = target["expr"].as_str().unwrap_or_default();
            let question = Question::new("", expression, target["instant"] == true, four_scrapes);
            target["result"] = question.ask(prometheus, span).into();
        }
    }
    dashboard
}

fn read(name: &str) -> Value {
    let path = dashboards().join(format!("grafana/{name}.json"));
    serde_json::from_str(&fs::read_to_string(path).expect("a dashboard")).expect("JSON")
}
