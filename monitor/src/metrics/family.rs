//! One family of the exposition while it is filled.

use std::mem;

use prometheus::{
    TextEncoder,
    proto::{self, Counter, Gauge, LabelPair, MetricFamily, MetricType},
};

use super::names::Metric;

/// Series that are held as objects before they are encoded. An object takes ten times the memory of
/// its text, and tens of thousands of watched ports have a million series.
const BATCH: usize = 512;

/// A family that is being filled.
pub(super) struct Family {
    metric: &'static Metric,
    /// Whether series at 0 are included.
    with_zeros: bool,
    batch: Vec<proto::Metric>,
    text: String,
    outcome: prometheus::Result<()>,
}

impl Family {
    pub(super) fn new(metric: &'static Metric) -> Self {
        Self { metric, with_zeros: true, batch: Vec::new(), text: String::new(), outcome: Ok(()) }
    }

    pub(super) fn of_one(metric: &'static Metric, value: f64) -> Self {
        let mut family = Self::new(metric);
        family.add(&[], value);
        family
    }

    /// The family with or without series at 0.
    pub(super) fn with_zeros(self, with_zeros: bool) -> Self {
        Self { with_zeros, ..self }
    }

    /// Adds a series; the values are those of the declared labels, in their order.
    pub(super) fn add(&mut self, values: &[&str], value: f64) {
        debug_assert_eq!(values.len(), self.metric.labels.len(), "{}", self.metric.name);
        if value == 0.0 && !self.with_zeros {
            return;
        }
        let labels = self.metric.labels.iter().zip(values).map(|(name, value)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        });
        let mut series = proto::Metric::from_label(labels.collect());
        match self.metric.kind {
            MetricType::COUNTER => {
                let mut counter = Counter::default();
                counter.set_value(value);
                series.set_counter(counter);
            }
            _ => {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                series.set_gauge(gauge);
            }
        }
        self.batch.push(series);
        if self.batch.len() >= BATCH {
            self.encode();
        }
    }

    /// Metric and text; none for a family without series.
    pub(super) fn finish(mut self) -> prometheus::Result<Option<(&'static Metric, String)>> {
        self.encode();
        self.outcome?;
        Ok((!self.text.is_empty()).then_some((self.metric, self.text)))
    }

    /// Turns the batch into text.
    fn encode(&mut self) {
        // The encoder refuses a family without series.
        if self.batch.is_empty() || self.outcome.is_err() {
            return;
        }
        let mut family = MetricFamily::default();
        family.set_name(self.metric.name.to_owned());
        family.set_help(self.metric.help.to_owned());
        family.set_field_type(self.metric.kind);
        family.set_metric(mem::take(&mut self.batch));
        let begin = self.text.len();
        self.outcome = TextEncoder::new().encode_utf8(&[family], &mut self.text);
        if begin > 0 {
            self.drop_head(begin);
        }
    }

    /// Removes the two lines that begin a family from every batch but the first.
    fn drop_head(&mut self, begin: usize) {
        let mut line_ends = self.text[begin..].match_indices('\n').map(|(end, _)| end + 1);
        if let Some(head) = line_ends.nth(1) {
            self.text.replace_range(begin..begin + head, "");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::names;

    fn text(family: Family) -> String {
        family.finish().expect("encoded").expect("series").1
    }

    #[test]
    fn batches_form_one_family() {
        let mut family = Family::new(&names::LISTENS);
        let count = 2 * BATCH + 7;
        for port in 0..count {
            family.add(&[&port.to_string()], port as f64);
        }
        let text = text(family);
        let (help, rest) = text.split_once('\n').expect("lines");
        let (kind, series) = rest.split_once('\n').expect("lines");
        let name = names::LISTENS.name;
        assert!(help.starts_with(&format!("# HELP {name} ")));
        assert_eq!(kind, format!("# TYPE {name} counter"));
        let expected: String =
            (0..count).map(|n| format!("{name}{{port=\"{n}\"}} {n}\n")).collect();
        assert_eq!(series, expected);
    }

    #[test]
    fn zeros_can_be_left_out() {
        let mut family = Family::new(&names::LISTENS).with_zeros(false);
        family.add(&["1"], 0.0);
        family.add(&["2"], 1.0);
        let end = format!("counter\n{}{{port=\"2\"}} 1\n", names::LISTENS.name);
        assert!(text(family).ends_with(&end));
        let mut empty = Family::new(&names::LISTENS).with_zeros(false);
        empty.add(&["1"], 0.0);
        assert!(empty.finish().expect("encoded").is_none());
    }
}
