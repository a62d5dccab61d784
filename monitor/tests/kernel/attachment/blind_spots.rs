//! What doctor says that no hook sees.

use std::collections::BTreeMap;

use aya::programs::XdpMode;
use serde_json::Value;
use testkit::{
    agent::Agent,
    programs::Programs,
    world::{Peer, World, in_world},
};

use super::support::{config, doctor_document};

/// The lines of doctor about blind spots, by their names.
fn blind_spots(world: &World) -> BTreeMap<String, String> {
    let (_, document) = doctor_document(world);
    let facts = document["facts"].as_array().expect("facts").iter();
    let facts = facts.filter(|fact| fact["group"] == "Blind spots");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    facts
        .inspect(|fact| assert_eq!(fact["ok"], true, "{fact}"))
        .map(|fact| (text(&fact["name"]), text(&fact["value"])))
        .collect()
}

#[test]
fn doctor_names_an_xdp_program_of_others_and_none_of_the_agent() {
    const XDP: &str = "XDP of others";
    in_world(|world| {
        let peer = Peer::alone();
        world.veth("gp0", &peer, "peer0");
        let agent = Agent::start(world, &config());
        let ingress = agent.metrics().mechanism("ingress", Some("gp0"));
        assert_eq!(ingress.as_deref(), Some("xdp-native"));
        assert_eq!(blind_spots(world).get(XDP), None);
        assert_eq!(agent.terminate().code(), Some(0));

        let mut foreign = Programs::load();
        foreign.attach_xdp("xdp_pass", "gp0", XdpMode::Driver);
        for agent in [None, Some(Agent::start(world, &config()))] {
            let spots = blind_spots(world);
            let line = spots.get(XDP).unwrap_or_else(|| panic!("{spots:?}"));
            assert!(line.starts_with("on gp0, "), "{line}");
            drop(agent);
        }
    });
}

#[test]
fn doctor_counts_the_other_network_namespaces() {
    in_world(|world| {
        let count = || {
            let spots = blind_spots(world);
            let line = spots.get("namespaces").cloned().unwrap_or_default();
            line.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
        };
        let before: u32 = count();
        let _peer = Peer::alone();
        assert_eq!(count(), before + 1);
    });
}
