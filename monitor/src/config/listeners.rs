//! Which sockets listen on this host, beside the watched ports.
//!
//! Pure: a [`ListenerExpectation`] names ports, and processes as an entry of `expect` does.

use std::{fmt, time::Duration};

use super::{expect::Expectation, listener_watch::ListenerWatch, port_range::PortRange};

/// Covered time in which listeners are learned unless the configuration says otherwise.
const DEFAULT_LEARN: Duration = Duration::from_secs(14 * 86_400);

/// What is reported and expected of the listeners of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenersConfig {
    /// The ports whose listeners are reported.
    pub watch: ListenerWatch,
    /// Covered time, from the first start on, in which every listener becomes part of the baseline.
    pub learn: Duration,
    /// Listeners that are expected beside the baseline.
    pub expect: Vec<ListenerExpectation>,
}

/// An entry of `listeners.expect`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerExpectation {
    /// Where it may listen.
    pub ports: ListenerPorts,
    /// Which process.
    pub owner: Expectation,
}

/// Ports on which a listener is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerPorts {
    /// Every port.
    All,
    /// These.
    Range(PortRange),
}

impl ListenerExpectation {
    /// Whether it expects every listener that `other` expects.
    pub fn covers(&self, other: &Self) -> bool {
        self.ports.cover(other.ports) && self.owner.covers(&other.owner)
    }
}

impl ListenersConfig {
    /// The processes that are expected to listen on `port`.
    pub fn of_port(&self, port: u16) -> impl Iterator<Item = &Expectation> {
        self.expect.iter().filter(move |entry| entry.ports.include(port)).map(|entry| &entry.owner)
    }
}

impl Default for ListenersConfig {
    fn default() -> Self {
        Self { watch: ListenerWatch::None, learn: DEFAULT_LEARN, expect: Vec::new() }
    }
}

impl ListenerPorts {
    /// What a value has to be.
    pub(super) const EXPECTED: &'static str =
        "a port from 1 to 65535, a range as 9200-9203, or \"*\"";

    /// Whether `port` is one of them.
    pub fn include(self, port: u16) -> bool {
        match self {
            Self::All => true,
            Self::Range(range) => range.ports().contains(&port),
        }
    }
}

impl ListenerPorts {
    /// Whether all of `other` are among them.
    fn cover(self, other: Self) -> bool {
        match (self, other) {
            (Self::All, _) => true,
            (Self::Range(_), Self::All) => false,
            (Self::Range(own), Self::Range(other)) => {
                own.ports().contains(other.ports().start())
                    && own.ports().contains(other.ports().end())
            }
        }
    }
}

impl fmt::Display for ListenerPorts {
    /// As YAML.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("\"*\""),
            Self::Range(range) => range.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::config::{Owner, is_expected};

    #[test]
    fn an_entry_is_about_its_ports_and_its_owner() {
        let entry = |ports, until| ListenerExpectation {
            ports,
            owner: Expectation { user: Some("web".into()), until, ..Expectation::default() },
        };
        let range = "8000-8010".parse().map(ListenerPorts::Range).expect("a range");
        let config = ListenersConfig {
            expect: vec![
                entry(range, None),
                entry(ListenerPorts::Range(9.into()), Some(date(2026, 1, 1))),
            ],
            ..ListenersConfig::default()
        };
        let owner = |name| Owner { user_name: Some(name), ..Owner::default() };
        let expects = |port, name, today| is_expected(config.of_port(port), &owner(name), today);
        let today = date(2026, 6, 1);
        assert!(expects(8000, "web", today) && expects(8010, "web", today));
        assert!(!expects(8011, "web", today) && !expects(8000, "mail", today));
        assert!(expects(9, "web", date(2026, 1, 1)) && !expects(9, "web", today));
        let any = ListenersConfig {
            expect: vec![entry(ListenerPorts::All, None)],
            ..ListenersConfig::default()
        };
        let of_any = |name| is_expected(any.of_port(1), &owner(name), today);
        assert!(of_any("web") && !of_any("x"));
    }
}
