//! Chains, rules and sets, as the kernel lists them (`net/netfilter/nf_tables_api.c`).

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io,
};

use monitor_kernel::netlink::{Attributes, attribute, dump, request};
use rustix::net::netlink::NETFILTER;

/// `NFNL_SUBSYS_NFTABLES << 8`, and the messages in it.
const NFTABLES: u16 = 10 << 8;
const GET_CHAIN: u16 = NFTABLES | 4;
const GET_RULE: u16 = NFTABLES | 7;
const GET_ELEMENTS: u16 = NFTABLES | 13;

/// `struct nfgenmsg`.
const HEAD: usize = 4;

/// Where destinations are translated: before routing (`NF_INET_PRE_ROUTING`).
const PRE_ROUTING: u32 = 0;

/// Families whose rules see what comes to this host: both, IPv4, IPv6 (`NFPROTO_INET`, …).
const FAMILIES: [u8; 3] = [1, 2, 10];

/// A table's family and name.
pub(super) type TableKey = (u8, String);

/// What the kernel has.
#[derive(Debug, Default)]
pub(super) struct Ruleset {
    /// Chains that packets before routing go through.
    pub(super) hooked: Vec<(TableKey, String)>,
    /// The rules of every chain, in their order.
    pub(super) rules: BTreeMap<(TableKey, String), Vec<Rule>>,
    sets: HashMap<(TableKey, String), Vec<Element>>,
}

/// A rule.
#[derive(Debug)]
pub(super) struct Rule {
    /// Transport protocol that `iptables` keeps beside the expressions.
    pub(super) compat_protocol: Option<u8>,
    pub(super) expressions: Vec<Expression>,
}

/// An expression: its name and attributes.
#[derive(Debug)]
pub(super) struct Expression {
    pub(super) name: String,
    data: Vec<u8>,
}

/// An element of a set or map.
#[derive(Clone, Debug)]
pub(super) struct Element {
    pub(super) key: Vec<u8>,
    /// End of a range, included.
    pub(super) key_end: Option<Vec<u8>>,
    /// Whether it ends the interval that the element before began.
    pub(super) ends_interval: bool,
    pub(super) data: Option<MapData>,
}

/// What a map leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum MapData {
    Value(Vec<u8>),
    Chain(String),
}

impl Element {
    /// The chain that a verdict map leads to from here.
    pub(super) fn chain(&self) -> Option<String> {
        match self.data.as_ref()? {
            MapData::Chain(chain) => Some(chain.clone()),
            MapData::Value(_) => None,
        }
    }
}

impl Expression {
    pub(super) fn attributes(&self) -> Attributes<'_> {
        Attributes::behind(&self.data, 0)
    }
}

impl Ruleset {
    pub(super) fn read() -> io::Result<Self> {
        let mut ruleset = Self::default();
        dump(Some(NETFILTER), &request(GET_CHAIN, &[0; HEAD], &[]), |body| {
            ruleset.add_chain(body);
            Ok(())
        })?;
        if ruleset.hooked.is_empty() {
            return Ok(ruleset);
        }
        dump(Some(NETFILTER), &request(GET_RULE, &[0; HEAD], &[]), |body| {
            ruleset.add_rule(body);
            Ok(())
        })?;
        ruleset.read_sets()?;
        Ok(ruleset)
    }

    /// Whether no rule sees what comes to this host.
    pub(super) fn is_empty(&self) -> bool {
        self.hooked.is_empty() || self.rules.is_empty()
    }

    pub(super) fn elements(&self, table: &TableKey, set: &str) -> &[Element] {
        self.sets.get(&(table.clone(), set.to_owned())).map_or(&[], Vec::as_slice)
    }

    fn add_chain(&mut self, body: &[u8]) {
        const TABLE: u16 = 1;
        const NAME: u16 = 3;
        const HOOK: u16 = 4;
        const HOOK_NUMBER: u16 = 1;
        let chain = Attributes::behind(body, HEAD);
        let hook = chain.nested(HOOK).and_then(|hook| hook.be32(HOOK_NUMBER));
        let family = body.first().copied().filter(|family| FAMILIES.contains(family));
        if let (Some(PRE_ROUTING), Some(family), Some(table), Some(name)) =
            (hook, family, chain.text(TABLE), chain.text(NAME))
        {
            self.hooked.push(((family, table.to_owned()), name.to_owned()));
        }
    }

    fn add_rule(&mut self, body: &[u8]) {
        const TABLE: u16 = 1;
        const CHAIN: u16 = 2;
        const EXPRESSIONS: u16 = 4;
        const COMPAT: u16 = 5;
        const COMPAT_PROTOCOL: u16 = 1;
        let rule = Attributes::behind(body, HEAD);
        let family = body.first().copied().filter(|family| FAMILIES.contains(family));
        let (Some(family), Some(table), Some(chain)) = (family, rule.text(TABLE), rule.text(CHAIN))
        else {
            return;
        };
        let compat = rule.nested(COMPAT).and_then(|compat| compat.be32(COMPAT_PROTOCOL));
        let compat_protocol =
            compat.and_then(|number| u8::try_from(number).ok()).filter(|number| *number != 0);
        let list = rule.nested(EXPRESSIONS).into_iter().flatten();
        let expressions = list.filter_map(|(_, value)| expression(value)).collect();
        let key = ((family, table.to_owned()), chain.to_owned());
        self.rules.entry(key).or_default().push(Rule { compat_protocol, expressions });
    }

    /// Reads the sets that rules look something up in.
    fn read_sets(&mut self) -> io::Result<()> {
        const LOOKUP_SET: u16 = 1;
        let mut names = HashSet::new();
        for ((table, _), rules) in &self.rules {
            let expressions = rules.iter().flat_map(|rule| &rule.expressions);
            let lookups = expressions.filter(|expression| expression.name == "lookup");
            names.extend(lookups.filter_map(|lookup| {
                Some((table.clone(), lookup.attributes().text(LOOKUP_SET)?.to_owned()))
            }));
        }
        for (table, name) in names {
            let elements = elements(&table, &name)?;
            self.sets.insert((table, name), elements);
        }
        Ok(())
    }
}

fn expression(value: &[u8]) -> Option<Expression> {
    const NAME: u16 = 1;
    const DATA: u16 = 2;
    let expression = Attributes::behind(value, 0);
    let data = expression.get(DATA).unwrap_or_default().to_vec();
    Some(Expression { name: expression.text(NAME)?.to_owned(), data })
}

fn elements(table: &TableKey, set: &str) -> io::Result<Vec<Element>> {
    const LIST_TABLE: u16 = 1;
    const LIST_SET: u16 = 2;
    const LIST_ELEMENTS: u16 = 3;
    let mut elements = Vec::new();
    let text = |kind, text: &str| {
        let mut attribute = attribute(kind, &[text.as_bytes(), &[0]].concat());
        attribute.resize(attribute.len().next_multiple_of(4), 0);
        attribute
    };
    let names = [text(LIST_TABLE, &table.1), text(LIST_SET, set)].concat();
    let request = request(GET_ELEMENTS, &[table.0, 0, 0, 0], &names);
    let read = dump(Some(NETFILTER), &request, |body| {
        let list = Attributes::behind(body, HEAD).nested(LIST_ELEMENTS);
        elements.extend(list.into_iter().flatten().filter_map(|(_, value)| element(value)));
        Ok(())
    });
    match read {
        // The set was removed meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(elements),
        read => read.map(|()| elements),
    }
}

fn element(value: &[u8]) -> Option<Element> {
    const KEY: u16 = 1;
    const DATA: u16 = 2;
    const FLAGS: u16 = 3;
    const KEY_END: u16 = 10;
    const INTERVAL_END: u32 = 1;
    let element = Attributes::behind(value, 0);
    let bytes = |kind| Some(element.nested(kind)?.get(DATA_VALUE)?.to_vec());
    Some(Element {
        // An element that stands for all others has no key.
        key: bytes(KEY)?,
        key_end: bytes(KEY_END),
        ends_interval: element.be32(FLAGS).is_some_and(|flags| flags & INTERVAL_END != 0),
        data: element.nested(DATA).and_then(map_data),
    })
}

/// `NFTA_DATA_VALUE`.
pub(super) const DATA_VALUE: u16 = 1;

/// A value, or the verdict to go through another chain.
pub(super) fn map_data(data: Attributes<'_>) -> Option<MapData> {
    const DATA_VERDICT: u16 = 2;
    const VERDICT_CHAIN: u16 = 2;
    if let Some(value) = data.get(DATA_VALUE) {
        return Some(MapData::Value(value.to_vec()));
    }
    Some(MapData::Chain(data.nested(DATA_VERDICT)?.text(VERDICT_CHAIN)?.to_owned()))
}
