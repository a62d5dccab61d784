//! The way of a packet through the chains.

use std::collections::HashSet;

use monitor_common::flow::Protocol;

use super::{
    machine::{Action, Machine, Outcome, Packet},
    ruleset::{Ruleset, TableKey},
};
use crate::sockets::{
    addresses::Addresses,
    paths::route::{Route, Target},
    reach::Path,
};

/// The routes of packets to a port at an address of `local`, by rules that ask for the port.
pub(super) fn routes(
    ruleset: &Ruleset,
    port: u16,
    protocol: Protocol,
    local: &Addresses,
) -> Vec<Route> {
    let packet = Packet { port, protocol, local };
    let mut walk = Walk { ruleset, packet, seen: HashSet::new(), found: Vec::new() };
    for (table, chain) in &ruleset.hooked {
        walk.chain(table, chain, false);
    }
    walk.found
}

struct Walk<'a> {
    ruleset: &'a Ruleset,
    packet: Packet<'a>,
    /// Chains that were gone through, and whether the port was asked for before: chains may call
    /// each other many times, and must not in a circle.
    seen: HashSet<(TableKey, String, bool)>,
    found: Vec<Route>,
}

impl Walk<'_> {
    fn chain(&mut self, table: &TableKey, chain: &str, is_about_port: bool) {
        if !self.seen.insert((table.clone(), chain.to_owned(), is_about_port)) {
            return;
        }
        let rules = self.ruleset.rules.get(&(table.clone(), chain.to_owned()));
        for rule in rules.into_iter().flatten() {
            let machine = Machine::new(self.ruleset, table, self.packet);
            let Some(Outcome { is_about_port: asked, action }) = machine.run(rule) else {
                continue;
            };
            let is_about_port = is_about_port || asked;
            match action {
                Action::Chains(chains) => {
                    for chain in chains {
                        self.chain(table, &chain, is_about_port);
                    }
                }
                Action::Lead(path, target) if is_about_port => self.add(path, target),
                Action::Lead(..) | Action::Other => {}
            }
        }
    }

    fn add(&mut self, path: Path, target: Target) {
        let Packet { port, protocol, .. } = self.packet;
        let target = Some(target);
        let (connections, flows, has_ended) = (None, Vec::new(), false);
        let route = Route { port, protocol, path, target, connections, flows, has_ended };
        if !self.found.contains(&route) {
            self.found.push(route);
        }
    }
}
