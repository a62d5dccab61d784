//! Which interfaces are counted: by name, or by what they are.

use std::{fmt, str::FromStr};

use monitor_kernel::{interfaces::Interface, mechanism::InterfaceMode};

use super::pattern::{Pattern, PatternError};

/// What begins a pattern of kinds; no name of an interface has a colon.
const KIND: &str = "kind:";

/// Kinds whose packets cross another interface of the host, or none: of containers and virtual
/// machines, what connects them, and tunnels.
const EXCLUDED_KINDS: [&str; 8] =
    ["veth", "bridge", "ifb", "dummy", "tap", "vxlan", "geneve", "netkit"];

/// Which interfaces are counted, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interfaces {
    /// An interface is counted if one of these matches it.
    pub include: Vec<InterfacePattern>,
    /// And none of these does, unless that of `include` is more particular.
    pub exclude: Vec<InterfacePattern>,
    /// How ingress is attached.
    pub mode: InterfaceMode,
}

/// A glob or name of interfaces, or a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InterfacePattern {
    /// By name.
    Name(Pattern),
    /// By what it is, in the kernel's word.
    Kind(String),
}

/// How particular a pattern is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    Everything,
    Kind,
    Glob,
    Name,
}

impl Interfaces {
    /// Whether an interface is counted: the most particular pattern that matches it decides, and
    /// `exclude` if both lists have one. A name is more particular than a glob, a glob than a kind, and
    /// a kind than `*`.
    pub fn counts(&self, interface: &Interface) -> bool {
        let weight = |patterns: &[InterfacePattern]| {
            let matching = patterns.iter().filter(|pattern| pattern.matches(interface));
            matching.map(InterfacePattern::weight).max()
        };
        weight(&self.include) > weight(&self.exclude)
    }

    /// The patterns of `include` that match none of `interfaces`.
    pub fn unmatched<'a>(
        &'a self,
        interfaces: impl Iterator<Item = &'a Interface> + Clone,
    ) -> impl Iterator<Item = &'a InterfacePattern> {
        let matches_none = move |pattern: &&InterfacePattern| {
            !interfaces.clone().any(|each| pattern.matches(each))
        };
        self.include.iter().filter(matches_none)
    }
}

impl Default for Interfaces {
    fn default() -> Self {
        Self {
            include: "*".parse().into_iter().collect(),
            exclude: EXCLUDED_KINDS.map(|kind| InterfacePattern::Kind(kind.to_owned())).to_vec(),
            mode: InterfaceMode::Auto,
        }
    }
}

impl InterfacePattern {
    fn matches(&self, interface: &Interface) -> bool {
        match self {
            Self::Name(pattern) => pattern.matches(&interface.name),
            Self::Kind(kind) => interface.kind.as_ref() == Some(kind),
        }
    }

    fn weight(&self) -> Weight {
        match self {
            Self::Kind(_) => Weight::Kind,
            Self::Name(pattern) if pattern.is_exact() => Weight::Name,
            Self::Name(pattern) if pattern.as_str().chars().all(|each| each == '*') => {
                Weight::Everything
            }
            Self::Name(_) => Weight::Glob,
        }
    }
}

impl FromStr for InterfacePattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let Some(kind) = text.strip_prefix(KIND) else { return text.parse().map(Self::Name) };
        let is_word = |kind: &str| {
            let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
            !kind.is_empty() && kind.bytes().all(is_part)
        };
        if is_word(kind) {
            Ok(Self::Kind(kind.to_owned()))
        } else {
            Err(PatternError::new(text, "a kind is one word, as in kind:veth"))
        }
    }
}

impl fmt::Display for InterfacePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(pattern) => pattern.fmt(f),
            Self::Kind(kind) => write!(f, "{KIND}{kind}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use monitor_kernel::interfaces::Link;

    use super::*;

    fn interface(name: &str, kind: &str) -> Interface {
        let kind = Some(kind.to_owned()).filter(|kind| !kind.is_empty());
        Interface { kind, ..Interface::new(7, name, 1500, Link::Ethernet) }
    }

    fn selection(include: &[&str], exclude: &[&str]) -> Interfaces {
        let patterns = |texts: &[&str]| -> Vec<InterfacePattern> {
            texts.iter().map(|text| text.parse().expect("a pattern")).collect()
        };
        let mode = InterfaceMode::Auto;
        Interfaces { include: patterns(include), exclude: patterns(exclude), mode }
    }

    #[test]
    fn the_default_excludes_by_kind_alone() {
        let default = Interfaces::default();
        for (name, kind) in [("lo", ""), ("eth0", ""), ("veth9", ""), ("bond0", "bond")] {
            assert!(default.counts(&interface(name, kind)), "{name}");
        }
        for kind in EXCLUDED_KINDS {
            assert!(!default.counts(&interface("eth7", kind)), "{kind}");
        }
        assert!(default.counts(&interface("tun0", "tun")), "a tun is no tap");
    }

    #[test]
    fn a_name_or_glob_wins_over_a_kind() {
        let kinds = ["kind:veth", "kind:bridge"];
        for include in [&["gp0"][..], &["gp*"], &["*", "gp0"]] {
            assert!(selection(include, &kinds).counts(&interface("gp0", "veth")), "{include:?}");
        }
        assert!(!selection(&["*", "gp0"], &kinds).counts(&interface("gp1", "veth")));
        assert!(!selection(&["*", "kind:veth"], &kinds).counts(&interface("gp1", "veth")));
    }

    #[test]
    fn the_more_particular_pattern_decides() {
        let counts = |include: &[&str], exclude: &[&str]| {
            selection(include, exclude).counts(&interface("eth0", ""))
        };
        assert!(counts(&["*"], &[]) && counts(&["eth0"], &["eth*"]));
        assert!(!counts(&["eth*"], &["eth0"]) && !counts(&["e*"], &["eth*"]));
        assert!(!counts(&["eth0"], &["eth0"]) && !counts(&["*"], &["*"]));
        assert!(!counts(&[], &[]) && !counts(&["kind:bond"], &[]));
        assert!(selection(&["kind:bond"], &[]).counts(&interface("b", "bond")));
    }

    #[test]
    fn reads_what_it_writes() {
        for text in ["eth*", "lo", "kind:veth", r"gp\xff0"] {
            let pattern: InterfacePattern = text.parse().expect("a pattern");
            assert_eq!(pattern.to_string(), text);
        }
        for text in ["kind:", "kind:*", "kind: veth", "eth["] {
            assert!(text.parse::<InterfacePattern>().is_err(), "{text}");
        }
    }
}
