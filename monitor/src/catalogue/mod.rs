//! What is known of the ports: what IANA registered, and of the legacy ports their story.
//!
//! The facts are data, in `ports.json`, each port with its sources. `registry.txt` has the names of
//! all other ports.

use std::{collections::BTreeMap, sync::LazyLock};

use serde::{Deserialize, Serialize};

mod registry;

/// A registered service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Service {
    /// Port, the same for TCP and UDP.
    pub port: u16,
    /// Service name in the IANA registry.
    pub name: &'static str,
    /// Description in the IANA registry; empty where only the name is kept.
    pub description: &'static str,
}

/// A port of the catalogue.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry<'a> {
    pub(crate) port: u16,
    pub(crate) name: &'a str,
    pub(crate) description: &'a str,
    /// Who registered it, and when, where the registry says so.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(crate) assignee: Option<&'a str>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(crate) registered: Option<&'a str>,
    /// When it was in use.
    pub(crate) era: &'a str,
    /// What it was for.
    pub(crate) purpose: &'a str,
    /// Why nothing should be there.
    pub(crate) dormant: &'a str,
    /// What is likely there.
    pub(crate) today: &'a str,
    /// What it was attacked with.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(crate) attacks: Option<&'a str>,
    pub(crate) related: Vec<u16>,
    /// Keys of [`Catalogue::sources`].
    #[serde(borrow)]
    pub(crate) sources: Vec<&'a str>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Catalogue<'a> {
    /// In ascending order.
    #[serde(borrow)]
    pub(crate) ports: Vec<Entry<'a>>,
    #[serde(borrow)]
    pub(crate) sources: BTreeMap<&'a str, &'a str>,
}

/// The file is part of the program, and a test reads it.
pub(crate) static CATALOGUE: LazyLock<Catalogue<'static>> =
    LazyLock::new(|| serde_json::from_str(include_str!("ports.json")).unwrap_or_default());

impl<'a> Catalogue<'a> {
    pub(crate) fn entry(&self, port: u16) -> Option<&Entry<'a>> {
        let index = self.ports.binary_search_by_key(&port, |entry| entry.port).ok()?;
        self.ports.get(index)
    }
}

/// The service that is registered for `port`.
pub fn lookup(port: u16) -> Option<Service> {
    match CATALOGUE.entry(port) {
        Some(entry) => Some(Service { port, name: entry.name, description: entry.description }),
        None => registry::name(port).map(|name| Service { port, name, description: "" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DEFAULT_PORTS;

    #[test]
    fn the_catalogue_is_whole() {
        let catalogue: Catalogue<'_> =
            serde_json::from_str(include_str!("ports.json")).expect("the catalogue");
        assert!(catalogue.ports.is_sorted_by_key(|entry| entry.port));
        assert!(DEFAULT_PORTS.iter().all(|port| catalogue.entry(*port).is_some()));
        for entry in &catalogue.ports {
            // What the registry says is said once.
            assert_eq!(registry::name(entry.port), Some(entry.name));
            assert!(entry.sources.iter().all(|key| catalogue.sources.contains_key(key)));
            assert!(entry.sources.contains(&"iana"), "{}", entry.port);
            for related in &entry.related {
                assert!(catalogue.entry(*related).is_some(), "{}: {related}", entry.port);
            }
        }
        let is_used = |key: &&str| catalogue.ports.iter().any(|entry| entry.sources.contains(key));
        assert!(catalogue.sources.keys().all(is_used));
    }

    #[test]
    fn services_are_found() {
        assert_eq!(lookup(2948).map(|service| service.description), Some("WAP PUSH"));
        assert_eq!(lookup(9201).map(|service| service.name), Some("wap-wsp-wtp"));
        assert_eq!(lookup(9202).map(|service| service.name), Some("wap-wsp-s"));
        assert_eq!(lookup(80).map(|service| service.name), Some("http"));
        assert_eq!(lookup(65_000), None);
    }
}
