//! How interfaces are stacked, and on which of them a packet of this host is counted for a sum.
//!
//! A packet crosses several interfaces of a stack, and is counted on each that is watched. One of them
//! is its edge: above, what bridges, bonds and teams merge; below, what VLANs and the like divide.

use std::collections::{BTreeMap, BTreeSet};

use crate::interfaces::Interface;

/// How many interfaces can be stacked: `MAX_NEST_DEV`, `include/linux/netdevice.h`.
const MAX_NESTING: usize = 8;

/// Whether a sum over interfaces includes the packets of an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// It does.
    #[default]
    Edge,
    /// The packets cross an edge, too.
    Inner,
}

impl Role {
    /// Name in the metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Edge => "edge",
            Self::Inner => "inner",
        }
    }
}

/// The role of every interface of `watched`, which are among `all`.
pub fn roles<'a>(
    watched: impl IntoIterator<Item = &'a u32>,
    all: &BTreeMap<u32, Interface>,
) -> BTreeMap<u32, Role> {
    let watched: BTreeSet<u32> = watched.into_iter().copied().collect();
    let mut members = BTreeMap::<u32, Vec<u32>>::new();
    for interface in all.values() {
        if let Some(master) = interface.master {
            members.entry(master).or_default().push(interface.index);
        }
    }
    let mut topology = Topology {
        all,
        members,
        watched: &watched,
        edges_below: BTreeMap::new(),
        crossings: BTreeMap::new(),
    };
    let role = |ifindex: &u32| (*ifindex, topology.role(*ifindex));
    watched.iter().map(role).collect()
}

struct Topology<'a> {
    all: &'a BTreeMap<u32, Interface>,
    /// Members of each master.
    members: BTreeMap<u32, Vec<u32>>,
    watched: &'a BTreeSet<u32>,
    /// Whether an edge is below an interface; false for one that is being looked at. The kernel has no
    /// circles, but a list that is read while interfaces change may have.
    edges_below: BTreeMap<u32, bool>,
    /// Whether an interface is an edge, or one is below it; likewise.
    crossings: BTreeMap<u32, bool>,
}

impl Topology<'_> {
    fn role(&mut self, ifindex: u32) -> Role {
        if self.is_edge(ifindex) { Role::Edge } else { Role::Inner }
    }

    fn is_edge(&mut self, ifindex: u32) -> bool {
        self.watched.contains(&ifindex)
            && !self.has_edge_below(ifindex)
            && !self.has_edge_as_master(ifindex)
    }

    /// Whether every packet of an interface is one of a master that is an edge.
    fn has_edge_as_master(&mut self, ifindex: u32) -> bool {
        let mut below = ifindex;
        for _ in 0..MAX_NESTING {
            let Some(master) = self.master(below) else { return false };
            if self.watched.contains(&master) && !self.has_edge_below(master) {
                return true;
            }
            below = master;
        }
        false
    }

    /// Whether packets of an interface cross an edge below it, which is below a VLAN or the like:
    /// members of a master leave it to be the edge.
    fn has_edge_below(&mut self, ifindex: u32) -> bool {
        if let Some(known) = self.edges_below.get(&ifindex) {
            return *known;
        }
        self.edges_below.insert(ifindex, false);
        let found = match self.divided(ifindex) {
            Some(lower) => self.crosses_edge(lower),
            None => self.merged(ifindex).into_iter().any(|member| self.has_edge_below(member)),
        };
        self.edges_below.insert(ifindex, found);
        found
    }

    /// Whether an interface is an edge, or one is below it.
    fn crosses_edge(&mut self, ifindex: u32) -> bool {
        if let Some(known) = self.crossings.get(&ifindex) {
            return *known;
        }
        self.crossings.insert(ifindex, false);
        let found = self.is_edge(ifindex)
            || match self.divided(ifindex) {
                Some(lower) => self.crosses_edge(lower),
                None => self.merged(ifindex).into_iter().any(|member| self.crosses_edge(member)),
            };
        self.crossings.insert(ifindex, found);
        found
    }

    /// The master that takes over the packets of an interface. A VRF does not: they never cross its
    /// device (`vrf_ip_rcv` and `vrf_ip_out` in `drivers/net/vrf.c`). Neither does the device of an
    /// Open vSwitch datapath.
    fn master(&self, ifindex: u32) -> Option<u32> {
        let master = self.all.get(&self.all.get(&ifindex)?.master?)?;
        // A master without a kind is hardware that has a faster way to itself, as of `hv_netvsc`.
        let merges = matches!(master.kind.as_deref(), None | Some("bridge" | "bond" | "team"));
        merges.then_some(master.index)
    }

    /// Interfaces whose packets this one takes over.
    fn merged(&self, ifindex: u32) -> Vec<u32> {
        let members = self.members.get(&ifindex).into_iter().flatten().copied();
        members.filter(|member| self.master(*member) == Some(ifindex)).collect()
    }

    /// The interface whose packets this one has a part of, as they are.
    fn divided(&self, ifindex: u32) -> Option<u32> {
        let interface = self.all.get(&ifindex)?;
        let divides = matches!(
            interface.kind.as_deref(),
            Some("vlan" | "macvlan" | "macvtap" | "ipvlan" | "ipvtap")
        );
        interface.lower.filter(|_| divides)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link_kind::Link;

    /// Name, kind, master, lower interface.
    type Row<'a> = (&'a str, &'a str, &'a str, &'a str);

    /// The edges among the watched interfaces, which are those without `-` before the name.
    fn edges(rows: &[Row<'_>]) -> Vec<String> {
        let name = |row: &Row<'_>| row.0.trim_start_matches('-').to_owned();
        let names: Vec<String> = rows.iter().map(name).collect();
        let index =
            |of: &str| names.iter().position(|name| name == of).map(|position| position as u32 + 1);
        let mut all = BTreeMap::new();
        for (row, name) in rows.iter().zip(&names) {
            let ifindex = index(name).expect("listed");
            let interface = Interface {
                kind: Some(row.1.to_owned()).filter(|kind| !kind.is_empty()),
                master: index(row.2),
                lower: index(row.3),
                ..Interface::new(ifindex, name, 1500, Link::Ethernet)
            };
            all.insert(ifindex, interface);
        }
        let watched: Vec<u32> = (1..)
            .zip(rows)
            .filter(|(_, row)| !row.0.starts_with('-'))
            .map(|(ifindex, _)| ifindex)
            .collect();
        let roles = roles(&watched, &all);
        assert_eq!(roles.len(), watched.len());
        let edges = roles.iter().filter(|(_, role)| **role == Role::Edge);
        edges.map(|(ifindex, _)| all[ifindex].name.clone()).collect()
    }

    #[test]
    fn interfaces_on_their_own_are_edges() {
        assert_eq!(edges(&[("lo", "", "", ""), ("eth0", "", "", "")]), ["lo", "eth0"]);
        assert_eq!(edges(&[("wg0", "wireguard", "", ""), ("eth0", "", "", "")]), ["wg0", "eth0"]);
    }

    #[test]
    fn a_master_is_the_edge_of_its_members() {
        for kind in ["bridge", "bond", "team", ""] {
            let rows = [("eth0", "", "br0", ""), ("br0", kind, "", ""), ("tap0", "tap", "br0", "")];
            assert_eq!(edges(&rows), ["br0"], "{kind}");
        }
    }

    #[test]
    fn members_of_a_master_that_is_not_watched_are_edges() {
        assert_eq!(edges(&[("eth0", "", "br0", ""), ("-br0", "bridge", "", "")]), ["eth0"]);
    }

    #[test]
    fn a_vrf_sees_nothing_of_its_members() {
        assert_eq!(edges(&[("eth0", "", "vrf0", ""), ("vrf0", "vrf", "", "")]), ["eth0", "vrf0"]);
    }

    #[test]
    fn the_lower_interface_is_the_edge_of_vlans() {
        for kind in ["vlan", "macvlan", "ipvlan"] {
            let rows = [("eth0", "", "", ""), ("v5", kind, "", "eth0"), ("v5.6", kind, "", "v5")];
            assert_eq!(edges(&rows), ["eth0"], "{kind}");
        }
        assert_eq!(edges(&[("-eth0", "", "", ""), ("v5", "vlan", "", "eth0")]), ["v5"]);
    }

    #[test]
    fn a_tunnel_is_an_edge_beside_what_carries_it() {
        for kind in ["vxlan", "geneve", "macsec", "gre"] {
            let rows = [("eth0", "", "", ""), ("t0", kind, "", "eth0")];
            assert_eq!(edges(&rows), ["eth0", "t0"], "{kind}");
        }
    }

    #[test]
    fn stacks_have_one_edge_on_every_way() {
        let bonds = [
            ("eth0", "", "bond0", ""),
            ("eth1", "", "bond0", ""),
            ("bond0", "bond", "br0", ""),
            ("br0", "bridge", "", ""),
            ("br0.7", "vlan", "", "br0"),
        ];
        assert_eq!(edges(&bonds), ["br0"]);
        // Machines of two VLANs: what they send each other does not cross the bond.
        let trunk = [
            ("eth0", "", "bond0", ""),
            ("bond0", "bond", "", ""),
            ("bond0.7", "vlan", "br7", "bond0"),
            ("br7", "bridge", "", ""),
            ("tap0", "tap", "br7", ""),
        ];
        assert_eq!(edges(&trunk), ["bond0", "tap0"]);
        // A tagged packet leaves eth0 before the bridge.
        let tagged =
            [("eth0", "", "br0", ""), ("br0", "bridge", "", ""), ("eth0.7", "vlan", "", "eth0")];
        assert_eq!(edges(&tagged), ["br0", "eth0.7"]);
        // The bridge is not watched, and eth0 has what a VLAN on it has.
        let below =
            [("eth0", "", "br0", ""), ("-br0", "bridge", "", ""), ("br0.7", "vlan", "", "br0")];
        assert_eq!(edges(&below), ["eth0"]);
        let through =
            [("eth0", "", "bond0", ""), ("-bond0", "bond", "br0", ""), ("br0", "bridge", "", "")];
        assert_eq!(edges(&through), ["br0"]);
    }

    #[test]
    fn a_circle_ends() {
        let rows =
            [("eth0", "", "br0", ""), ("eth0.7", "vlan", "br0", "eth0"), ("br0", "bridge", "", "")];
        assert!(!edges(&rows).is_empty());
        edges(&[("a", "vlan", "", "b"), ("b", "vlan", "", "a")]);
    }
}
