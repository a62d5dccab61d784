//! What `/metrics` says, as numbers.

use std::collections::BTreeMap;

/// Labels of a series.
pub type Labels = BTreeMap<String, String>;

/// One scrape.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// The page as it came.
    pub text: String,
    /// Every series: name, labels, value.
    pub series: Vec<(String, Labels, f64)>,
}

/// Counters that are not zero, by a short readable key; two of them compare whole. The roles of
/// interfaces are left out: they follow from how interfaces are stacked.
pub type Counts = BTreeMap<String, u64>;

impl Metrics {
    /// Reads a page.
    pub fn parse(text: String) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        let series = lines
            .map(|line| series(line).unwrap_or_else(|| panic!("not a series: {line}")))
            .collect();
        Self { text, series }
    }

    /// Value of the one series of that name whose labels include these.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let found: Vec<f64> = self.matching(name, labels).collect();
        match found.as_slice() {
            [value] => *value,
            other => panic!("{} series {name}{labels:?} in\n{}", other.len(), self.text),
        }
    }

    /// Sum of the series of that name whose labels include these.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        self.matching(name, labels).sum::<f64>() as u64
    }

    /// Whether there is any series of that name whose labels include these.
    pub fn has(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        self.matching(name, labels).next().is_some()
    }

    fn matching(&self, name: &str, labels: &[(&str, &str)]) -> impl Iterator<Item = f64> {
        let wanted = |found: &Labels| {
            labels.iter().all(|(key, value)| found.get(*key).is_some_and(|found| found == value))
        };
        self.series
            .iter()
            .filter(move |(found, labels, _)| found == name && wanted(labels))
            .map(|(_, _, value)| *value)
    }

    /// Everything that was counted about packets.
    pub fn traffic(&self) -> Counts {
        self.counts(&[
            "ghostport_packets_total",
            "ghostport_bytes_total",
            "ghostport_connection_attempts_total",
            "ghostport_unclassified_packets_total",
        ])
    }

    /// Everything that was counted about sockets on these ports.
    pub fn sockets(&self, ports: &[u16]) -> Counts {
        let counts = self.counts(&[
            "ghostport_binds_total",
            "ghostport_listens_total",
            "ghostport_closes_total",
        ]);
        let on_port = |key: &str| {
            ports.iter().any(|port| key.split(' ').any(|word| word == format!("port={port}")))
        };
        counts.into_iter().filter(|(key, _)| on_port(key)).collect()
    }

    fn counts(&self, names: &[&str]) -> Counts {
        let counted = self
            .series
            .iter()
            .filter(|(name, _, value)| names.contains(&name.as_str()) && *value != 0.0);
        counted.map(|(name, labels, value)| (key(name, labels), *value as u64)).collect()
    }

    /// The mechanism that serves a hook.
    pub fn mechanism(&self, hook: &str, interface: Option<&str>) -> Option<String> {
        let serves = |labels: &Labels| {
            let on = labels.get("interface").filter(|name| !name.is_empty()).map(String::as_str);
            labels.get("hook").is_some_and(|found| found == hook) && on == interface
        };
        self.series
            .iter()
            .find(|(name, labels, value)| {
                name == "ghostport_hook_attached" && *value == 1.0 && serves(labels)
            })
            .map(|(_, labels, _)| labels["mechanism"].clone())
    }
}

/// Key of a counter: its name without what all have in common, and its labels.
fn key(name: &str, labels: &Labels) -> String {
    let name = name.trim_start_matches("ghostport_").trim_end_matches("_total");
    let labels = labels.iter().filter(|(key, _)| *key != "role");
    let labels: Vec<String> = labels.map(|(key, value)| format!("{key}={value}")).collect();
    format!("{name} {}", labels.join(" "))
}

/// Adds to a counter that a test expects; labels in any order.
pub fn expect(counts: &mut Counts, name: &str, labels: &[(&str, &str)], amount: u64) {
    if amount > 0 {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        *counts.entry(key(name, &labels.collect())).or_default() += amount;
    }
}

/// What was counted between two scrapes.
pub fn since(before: &Counts, after: &Counts) -> Counts {
    for (key, value) in before {
        assert!(after.get(key) >= Some(value), "{key} has shrunk from {value}: {after:?}");
    }
    let grown = |(key, value): (&String, &u64)| {
        let growth = value - before.get(key).unwrap_or(&0);
        (growth > 0).then(|| (key.clone(), growth))
    };
    after.iter().filter_map(grown).collect()
}

fn series(line: &str) -> Option<(String, Labels, f64)> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = match series.split_once('{') {
        None => (series, ""),
        Some((name, rest)) => (name, rest.strip_suffix('}')?),
    };
    Some((name.to_owned(), parse_labels(labels)?, value.parse().ok()?))
}

fn parse_labels(mut text: &str) -> Option<Labels> {
    let mut labels = Labels::new();
    while !text.is_empty() {
        let (key, rest) = text.split_once("=\"")?;
        let mut value = String::new();
        let mut characters = rest.char_indices();
        let end = loop {
            match characters.next()? {
                (at, '"') => break at + 1,
                (_, '\\') => value.push(characters.next()?.1),
                (_, other) => value.push(other),
            }
        };
        labels.insert(key.to_owned(), value);
        text = rest[end..].trim_start_matches(',');
    }
    Some(labels)
}
