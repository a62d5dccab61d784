//! Runs a rule on a packet of which little is known (`nft_do_chain` in
//! `net/netfilter/nf_tables_core.c`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use monitor_common::flow::Protocol;
use monitor_kernel::netlink::Attributes;

use super::{
    bytes::{Byte, WORDS, known, octets, register},
    compat,
    ruleset::{DATA_VALUE, Element, MapData, Rule, Ruleset, TableKey, map_data},
};
use crate::sockets::{addresses::Addresses, paths::route::Target, reach::Path};

/// The packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet<'a> {
    pub(super) port: u16,
    pub(super) protocol: Protocol,
    /// Its destination is one of these.
    pub(super) local: &'a Addresses,
}

/// What a rule does with the packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Whether the rule asked for the port.
    pub(super) is_about_port: bool,
    pub(super) action: Action,
}

/// The action of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// None that leads the packet elsewhere.
    Other,
    /// It may go on in any of these.
    Chains(Vec<String>),
    Lead(Path, Target),
}

pub(super) struct Machine<'a> {
    ruleset: &'a Ruleset,
    table: &'a TableKey,
    packet: Packet<'a>,
    registers: [Byte; WORDS * 4],
    is_about_port: bool,
}

/// What an expression means for its rule.
enum Step {
    Next,
    /// The rule does not match.
    Mismatch,
    Act(Action),
}

impl<'a> Machine<'a> {
    pub(super) fn new(ruleset: &'a Ruleset, table: &'a TableKey, packet: Packet<'a>) -> Self {
        let registers = [Byte::Unknown; WORDS * 4];
        Self { ruleset, table, packet, registers, is_about_port: false }
    }

    /// Runs a rule; `None` if it does not match.
    pub(super) fn run(mut self, rule: &Rule) -> Option<Outcome> {
        if rule.compat_protocol.is_some_and(|number| number != self.packet.protocol.ip_number()) {
            return None;
        }
        for expression in &rule.expressions {
            let step = self.step(&expression.name, expression.attributes());
            match step.unwrap_or(Step::Next) {
                Step::Next => {}
                Step::Mismatch => return None,
                Step::Act(action) => return Some(self.outcome(action)),
            }
        }
        Some(self.outcome(Action::Other))
    }

    const fn outcome(&self, action: Action) -> Outcome {
        Outcome { is_about_port: self.is_about_port, action }
    }

    /// `None` for an expression that lacks an attribute, as one of a later kernel might.
    fn step(&mut self, name: &str, attributes: Attributes<'_>) -> Option<Step> {
        match name {
            "meta" => self.meta(attributes),
            "payload" => self.payload(attributes),
            "cmp" => self.compare(attributes),
            "range" => self.range(attributes),
            "bitwise" => self.bitwise(attributes),
            "lookup" => self.lookup(attributes),
            "immediate" => self.immediate(attributes),
            "nat" => self.nat(attributes),
            "redir" => self.redirect(attributes),
            "tproxy" => self.tproxy(attributes),
            "match" => self.compat_match(attributes),
            "target" => {
                let (name, info) = (attributes.text(1)?, attributes.get(3)?);
                let revision = attributes.be32(2).unwrap_or(0);
                let (path, target) = compat::target(name, revision, info, self.packet.port)?;
                Some(Step::Act(Action::Lead(path, target)))
            }
            // They write no register.
            "counter" | "log" | "limit" | "quota" | "connlimit" | "notrack" | "objref" | "last"
            | "dynset" => Some(Step::Next),
            _ => {
                self.registers = [Byte::Unknown; WORDS * 4];
                Some(Step::Next)
            }
        }
    }

    fn meta(&mut self, attributes: Attributes<'_>) -> Option<Step> {
        const PROTOCOL: u32 = 16;
        let to = register(attributes.be32(1)?)?;
        let protocol = Byte::Known(self.packet.protocol.ip_number());
        let is_protocol = attributes.be32(2)? == PROTOCOL;
        self.store(to, &[if is_protocol { protocol } else { Byte::Unknown }; 1]);
        if !is_protocol {
            self.store(to, &[Byte::Unknown; 16]);
        }
        Some(Step::Next)
    }

    fn payload(&mut self, attributes: Attributes<'_>) -> Option<Step> {
        const NETWORK: u32 = 1;
        const TRANSPORT: u32 = 2;
        let to = register(attributes.be32(1)?)?;
        let base = attributes.be32(2)?;
        let [offset, length] = [3, 4].map(|kind| attributes.be32(kind).unwrap_or(0) as usize);
        let [high, low] = self.packet.port.to_be_bytes();
        // In a table of both families a rule asks for the family first; the places of the
        // addresses tell it here.
        let byte = |at: usize| match (base, at, length) {
            (TRANSPORT, 2, _) => Byte::Port(high),
            (TRANSPORT, 3, _) => Byte::Port(low),
            (NETWORK, 9, 1) => Byte::Known(self.packet.protocol.ip_number()),
            (NETWORK, 16..20, ..5) if offset == 16 => Byte::Destination { at: at - 16, mask: !0 },
            (NETWORK, 24..40, _) if offset == 24 => Byte::Destination { at: at - 24, mask: !0 },
            _ => Byte::Unknown,
        };
        let bytes: Vec<Byte> = (offset..offset + length.min(64)).map(byte).collect();
        self.store(to, &bytes);
        Some(Step::Next)
    }

    fn compare(&mut self, attributes: Attributes<'_>) -> Option<Step> {
        let from = register(attributes.be32(1)?)?;
        let value = attributes.nested(3)?.get(DATA_VALUE)?;
        let operation = attributes.be32(2)?;
        let bytes = self.load(from, value.len());
        if let Some(known) = known(&bytes) {
            let holds = match operation {
                0 => known == value,
                1 => known != value,
                2 => *known < *value,
                3 => *known <= *value,
                4 => *known > *value,
                _ => *known >= *value,
            };
            return Some(self.decide(&bytes, holds));
        }
        Some(if operation == 0 && !self.may_be(&bytes, value) {
            Step::Mismatch
        } else {
            Step::Next
        })
    }

    fn range(&mut self, attributes: Attributes<'_>) -> Option<Step> {
        let from = register(attributes.be32(1)?)?;
        let first = attributes.nested(3)?.get(DATA_VALUE)?;
        let last = attributes.nested(4)?.get(DATA_VALUE)?;
        let bytes = self.load(from, first.len());
        let Some(known) = known(&bytes) else { return Some(Step::Next) };
        let is_within = (first..=last).contains(&known.as_slice());
        let is_equality = attributes.be32(2)? == 0;
        Some(self.decide(&bytes, is_within == is_equality))
    }

    fn bitwise(&mut self, attributes: Attributes<'_>) -> Option<Step> {
        let from = register(attributes.be32(1)?)?;
        let to = register(attributes.be32(2)?)?;
        let length = attributes.be32(3)? as usize;
        let mask = attributes.nested(4).and_then(|mask| mask.get(DATA_VALUE)).unwrap_or_default();
        let xor = attributes.nested(5).and_then(|xor| xor.get(DATA_VALUE)).unwrap_or_default();
        let bytes = self.load(from, length);
        let change = |(at, byte): (usize, Byte)| {
            let (Some(kept), Some(flipped)) = (mask.get(at), xor.get(at)) else {
                return Byte::Unknown;
            };
            match byte {
                Byte::Unknown => Byte::Unknown,
                Byte::Known(value) => Byte::Known(value & kept ^ flipped),
                Byte::Port(value) => Byte::Port(value & kept ^ flipped),
                Byte::Destination { at, mask } if *flipped == 0 => {
                    Byte::Destination { at, mask: mask & kept }
                }
                Byte::Destination { .. } => Byte::Unknown,
            }
        };
        let bytes: Vec<Byte> = bytes.into_iter().enumerate().map(change).collect();
        self.store(to, &bytes);
        Some(Step::Next)
    }

    fn lookup(&mut self, attributes: Attributes<'_>) -> Option<Step> {
        const IS_INVERTED: u32 = 1;
        let elements = self.ruleset.elements(self.table, attributes.text(1)?);
        let from = register(attributes.be32(2)?)?;
        let length = elements.first().map_or(0, |element| element.key.len());
        let bytes = self.load(from, length);
        let found = self.find(elements, &bytes);
        let first = found.first().copied();
        let is_inverted = attributes.be32(5).is_some_and(|flags| flags & IS_INVERTED != 0);
        let asks_for_port = bytes.iter().any(|byte| matches!(byte, Byte::Port(_)));
        if is_inverted {
            let is_certain = known(&bytes).is_some() && first.is_some();
            return Some(if is_certain { Step::Mismatch } else { Step::Next });
        }
        let Some(first) = first else { return Some(Step::Mismatch) };
        let chains: Vec<String> = found.iter().filter_map(|element| element.chain()).collect();
        self.is_about_port |= asks_for_port;
        let Some(to) = attributes.be32(3) else { return Some(Step::Next) };
        if !chains.is_empty() {
            return Some(Step::Act(Action::Chains(chains)));
        }
        Some(match first.data.clone() {
            Some(MapData::Chain(_)) | None => Step::Next,
            Some(MapData::Value(value)) => {
                self.store(register(to)?, &value.into_iter().map(Byte::Known).collect::<Vec<_>>());
                Step::Next
            }
        })
    }

    /// The elements that the bytes may be.
    fn find<'e>(&self, elements: &'e [Element], bytes: &[Byte]) -> Vec<&'e Element> {
        let has_intervals = elements.iter().any(|element| element.ends_interval);
        if let Some(known) = known(bytes).filter(|_| has_intervals) {
            // Elements begin and end intervals; the one with the greatest key decides.
            let below = elements.iter().filter(|element| element.key <= known);
            let greatest = below.max_by_key(|e| (&e.key, !e.ends_interval));
            return greatest.filter(|e| !e.ends_interval).into_iter().collect();
        }
        let may_be = |element: &&Element| match &element.key_end {
            Some(end) => self.may_be_within(bytes, &element.key, end),
            None => has_intervals || self.may_be(bytes, &element.key),
        };
        elements.iter().filter(|element| !element.ends_interval).filter(may_be).collect()
    }

    fn immediate(&mut self, attributes: Attributes<'_>) -> Option<Step> {
        let to = attributes.be32(1)?;
        Some(match map_data(attributes.nested(2)?) {
            Some(MapData::Chain(chain)) => Step::Act(Action::Chains(vec![chain])),
            Some(MapData::Value(value)) => {
                self.store(register(to)?, &value.into_iter().map(Byte::Known).collect::<Vec<_>>());
                Step::Next
            }
            // Accepted, dropped, returned.
            None => Step::Act(Action::Other),
        })
    }

    fn nat(&self, attributes: Attributes<'_>) -> Option<Step> {
        const IS_DESTINATION: u32 = 1;
        if attributes.be32(1)? != IS_DESTINATION {
            return Some(Step::Act(Action::Other));
        }
        let address = self.address(attributes.be32(2).unwrap_or(2), attributes.be32(3));
        let target = Target { address, port: self.target_port(attributes.be32(5)) };
        Some(Step::Act(Action::Lead(Path::Dnat, target)))
    }

    fn redirect(&self, attributes: Attributes<'_>) -> Option<Step> {
        let target = Target { address: None, port: self.target_port(attributes.be32(1)) };
        Some(Step::Act(Action::Lead(Path::Redirect, target)))
    }

    fn tproxy(&self, attributes: Attributes<'_>) -> Option<Step> {
        let address = self.address(attributes.be32(1).unwrap_or(2), attributes.be32(2));
        let target = Target { address, port: self.target_port(attributes.be32(3)) };
        Some(Step::Act(Action::Lead(Path::Tproxy, target)))
    }

    fn compat_match(&mut self, attributes: Attributes<'_>) -> Option<Step> {
        let (name, info) = (attributes.text(1)?, attributes.get(3)?);
        let Some(holds) = compat::port_match(name, info, self.packet.port) else {
            return Some(Step::Next);
        };
        self.is_about_port |= holds;
        Some(if holds { Step::Next } else { Step::Mismatch })
    }

    /// Continues if `holds`, and remembers whether the port was asked for.
    fn decide(&mut self, bytes: &[Byte], holds: bool) -> Step {
        if !holds {
            return Step::Mismatch;
        }
        self.is_about_port |= bytes.iter().any(|byte| matches!(byte, Byte::Port(_)));
        Step::Next
    }

    fn may_be(&self, bytes: &[Byte], value: &[u8]) -> bool {
        let known = bytes
            .iter()
            .zip(value)
            .all(|(byte, value)| byte.value().is_none_or(|known| known == *value));
        let of_destination = |address: &IpAddr| {
            let octets = octets(*address);
            bytes.iter().zip(value).all(|(byte, value)| match byte {
                Byte::Destination { at, mask } => {
                    octets.get(*at).is_some_and(|octet| octet & mask == *value)
                }
                _ => true,
            })
        };
        let asks_for_destination = bytes.iter().any(|b| matches!(b, Byte::Destination { .. }));
        known && (!asks_for_destination || self.packet.local.any(of_destination))
    }

    /// Compares each field of four bytes for itself, as a set of concatenations does.
    fn may_be_within(&self, bytes: &[Byte], first: &[u8], last: &[u8]) -> bool {
        bytes.chunks(4).zip(first.chunks(4)).zip(last.chunks(4)).all(|((bytes, first), last)| {
            match known(bytes) {
                Some(known) => (first..=last).contains(&known.as_slice()),
                None => first != last || self.may_be(bytes, first),
            }
        })
    }

    fn address(&self, family: u32, from: Option<u32>) -> Option<IpAddr> {
        const IPV6: u32 = 10;
        let from = register(from?)?;
        if family == IPV6 {
            let bytes: [u8; 16] = known(&self.load(from, 16))?.try_into().ok()?;
            return Some(Ipv6Addr::from(bytes).into());
        }
        let bytes: [u8; 4] = known(&self.load(from, 4))?.try_into().ok()?;
        Some(Ipv4Addr::from(bytes).into())
    }

    /// The port that a register has; without one it stays as it is.
    fn target_port(&self, from: Option<u32>) -> u16 {
        let bytes = from.and_then(register).and_then(|from| known(&self.load(from, 2)));
        let port = bytes.and_then(|bytes| Some(u16::from_be_bytes(bytes.try_into().ok()?)));
        port.unwrap_or(self.packet.port)
    }

    fn store(&mut self, at: usize, bytes: &[Byte]) {
        // A value fills whole words.
        let end = (at + bytes.len()).next_multiple_of(4);
        for (index, byte) in self.registers.iter_mut().enumerate().take(end).skip(at) {
            *byte = bytes.get(index - at).copied().unwrap_or(Byte::Known(0));
        }
    }

    fn load(&self, at: usize, length: usize) -> Vec<Byte> {
        let bytes = at..at + length.min(WORDS * 4);
        bytes.map(|at| self.registers.get(at).copied().unwrap_or_default()).collect()
    }
}
