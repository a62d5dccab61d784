//! The body of a webhook's request, as the operator writes it: a template in the language of Jinja.
//!
//! A template that uses `event` is rendered once for each event; one that uses `events` once for all
//! events of a request.

use std::{fmt, sync::Arc};

use minijinja::{
    AutoEscape, Environment, Error,
    value::{Serde, Value as TemplateValue},
};
use serde_json::{Deserializer, Map, Value};

use crate::event::{EventName, Severity, samples};

/// What a template may be.
pub(super) const EXPECTED: &str = "a template that uses `event` or `events` and makes JSON, with values written as {{ x|tojson }}";

/// The name of the only template of an environment.
const NAME: &str = "template";

/// A template that has been tried.
#[derive(Clone)]
pub struct Template {
    text: String,
    environment: Arc<Environment<'static>>,
    is_of_each: bool,
}

/// What is wrong with a template.
#[derive(Debug)]
pub(super) struct TemplateError {
    /// Line and column, from 1.
    pub(super) place: Option<(u32, u32)>,
    pub(super) message: String,
}

impl Template {
    /// Compiles a template and renders it with a sample of each event that `takes` accepts.
    pub(super) fn parse(
        text: &str,
        takes: impl Fn(EventName, Severity) -> bool,
    ) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        // JSON is made by the filter `tojson`, which the templates name.
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment
            .add_template_owned(NAME, text.to_owned())
            .map_err(|error| TemplateError::new(&error, text))?;
        let used = environment
            .get_template(NAME)
            .map_err(|error| TemplateError::new(&error, text))?
            .undeclared_variables(false);
        let is_of_each = match (used.contains("event"), used.contains("events")) {
            (true, false) => true,
            (false, true) => false,
            (true, true) => return Err("the template uses both `event` and `events`".into()),
            (false, false) => return Err("the template uses neither `event` nor `events`".into()),
        };
        let template = Self { text: text.to_owned(), environment: environment.into(), is_of_each };
        template.render_samples(takes)?;
        Ok(template)
    }

    fn render_samples(
        &self,
        takes: impl Fn(EventName, Severity) -> bool,
    ) -> Result<(), TemplateError> {
        for sample in samples() {
            let text = |key: &str| sample.get(key).and_then(Value::as_str).unwrap_or_default();
            let kind = text("event.name").trim_start_matches("ghostport.").to_owned();
            let severity = text("ghostport.severity").to_owned();
            let severity = Severity::ALL.into_iter().find(|known| known.name() == severity);
            if !EventName::from_kind(&kind).zip(severity).is_some_and(|(k, s)| takes(k, s)) {
                continue;
            }
            let body = self.try_render(&[TemplateEvent { fields: sample, text: "sample".into() }]);
            let body = body.map_err(|error| TemplateError::new(&error, &self.text))?;
            let mut values = Deserializer::from_str(&body).into_iter::<Value>();
            let outcome = values.next().map_or(Ok(()), |first| first.map(drop));
            if let Err(error) = outcome.and_then(|()| values.try_for_each(|value| value.map(drop)))
            {
                let message = format!("an event of the kind {kind} makes no JSON: {error}");
                return Err(TemplateError { place: None, message });
            }
        }
        Ok(())
    }

    /// Whether every event is a request of its own.
    pub const fn is_of_each(&self) -> bool {
        self.is_of_each
    }

    /// The text of the template.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The body of a request with these events.
    ///
    /// # Errors
    /// The template fails for them, as where it computes with a field that is absent.
    pub fn render(&self, events: &[TemplateEvent]) -> Result<String, String> {
        self.try_render(events).map_err(|error| TemplateError::new(&error, &self.text).to_string())
    }

    fn try_render(&self, events: &[TemplateEvent]) -> Result<String, Error> {
        let values = events.iter().map(TemplateEvent::value);
        let mut context = Map::new();
        if self.is_of_each {
            context.extend(values.map(|value| ("event".to_owned(), value)));
        } else {
            context.insert("events".into(), values.collect());
        }
        let context = TemplateValue::from(Serde(context));
        self.environment.get_template(NAME)?.render(context)
    }
}

/// An event, as a template sees it.
#[derive(Clone, Debug)]
pub struct TemplateEvent {
    /// Its JSON object.
    pub fields: Map<String, Value>,
    /// What happened, as a sentence.
    pub text: String,
}

impl TemplateEvent {
    /// The fields, with `text` and `unix_time` beside them.
    fn value(&self) -> Value {
        let mut fields = self.fields.clone();
        let time = fields.get("time").and_then(Value::as_str).and_then(|time| time.parse().ok());
        let unix_time = time.map(|time: jiff::Timestamp| time.as_nanosecond() as f64 / 1e9);
        fields.extend(unix_time.map(|time| ("unix_time".to_owned(), time.into())));
        fields.insert("text".into(), self.text.clone().into());
        Value::Object(fields)
    }
}

impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Template {}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Template").field(&self.text).finish()
    }
}

impl TemplateError {
    fn new(error: &Error, text: &str) -> Self {
        let detail = error.detail().map(|detail| format!(": {detail}"));
        let message = format!("{}{}", error.kind(), detail.unwrap_or_default());
        let place = match error.range().and_then(|range| text.get(..range.start)) {
            Some(before) => {
                let line_start = before.rfind('\n').map_or(0, |end| end + 1);
                let column = before[line_start..].chars().count() + 1;
                Some((before.matches('\n').count() as u32 + 1, column as u32))
            }
            None => error.line().map(|line| (line as u32, 1)),
        };
        Self { place, message }
    }
}

impl From<&str> for TemplateError {
    fn from(message: &str) -> Self {
        Self { place: None, message: message.into() }
    }
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some((line, column)) => write!(f, "the template, {line}:{column}: {}", self.message),
            None => write!(f, "the template: {}", self.message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Template, TemplateError> {
        Template::parse(text, |kind, _| kind == EventName::Bind)
    }

    fn event(json: &str) -> TemplateEvent {
        TemplateEvent { fields: serde_json::from_str(json).expect("JSON"), text: "it is".into() }
    }

    #[test]
    fn renders_each_event_or_all() {
        let events = [event(r#"{"a.b": "x\"</"}"#), event(r#"{"time": "1970-01-01T00:00:01.5Z"}"#)];
        let each = parse(r#"{"a": {{ event["a.b"]|tojson }}, "t": {{ event.text|tojson }}}"#);
        let each = each.expect("a template");
        assert!(each.is_of_each());
        let body: Value =
            serde_json::from_str(&each.render(&events[..1]).expect("a body")).expect("JSON");
        assert_eq!(body, serde_json::json!({"a": "x\"</", "t": "it is"}));
        let all = parse("{% for e in events %}[{{ e.unix_time|tojson }}]{% endfor %}");
        let all = all.expect("a template");
        assert!(!all.is_of_each());
        assert_eq!(all.render(&events).expect("a body"), "[null][1.5]");
    }

    #[test]
    fn errors_have_a_place() {
        for (text, place, message) in [
            ("{\n  {{ event.a|nix }}", Some((2, 14)), "unknown filter"),
            ("{{ event.a", Some((1, 10)), "syntax error"),
            ("{}", None, "neither `event` nor `events`"),
            ("{{ event.a }} {{ events }}", None, "both"),
            (r#"{"a": {{ event.host }} }"#, None, "an event of the kind bind makes no JSON"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.message.contains(message), "{text}: {error}");
            assert_eq!(error.place, place, "{text}: {error}");
        }
    }

    #[test]
    fn only_events_that_the_sink_takes_are_tried() {
        let text = r#"{"next": {{ event["network.local.port"] + 1 }}}"#;
        assert!(parse(text).is_ok());
        assert!(Template::parse(text, |kind, _| kind == EventName::AgentStarted).is_err());
    }
}
