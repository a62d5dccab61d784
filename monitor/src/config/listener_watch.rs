//! The ports whose listeners are reported.

use std::{collections::HashMap, fmt};

use monitor_common::ports::PortSet;

use super::{
    port_range::PortRange,
    value::{list, port_range},
    yaml::{Node, Problem, Value},
};

/// The ports whose listeners are reported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ListenerWatch {
    /// No port.
    #[default]
    None,
    /// Every port.
    All,
    /// These ports, none of them twice.
    Ports(Vec<PortRange>),
}

impl ListenerWatch {
    /// All of the ports.
    pub fn ports(&self) -> PortSet {
        match self {
            Self::None => PortSet::EMPTY,
            Self::All => (1..=u16::MAX).collect(),
            Self::Ports(ranges) => ranges.iter().flat_map(|range| range.ports()).collect(),
        }
    }

    /// Whether it names no port.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::None => true,
            Self::All => false,
            Self::Ports(ranges) => ranges.is_empty(),
        }
    }

    /// `none`, `all`, or a list of ports and ranges.
    pub(super) fn read(node: Node<'_>) -> Result<Self, Problem> {
        const EXPECTED: &str = "none, all, or a list of ports and ranges, as [22, 8000-8999]";
        match &node.value {
            Value::Plain(text) if text == "none" => return Ok(Self::None),
            Value::Plain(text) if text == "all" => return Ok(Self::All),
            Value::List(_) => {}
            other => {
                let message = format!("{other} names no ports");
                return Err(Problem::new(node.position, message, EXPECTED));
            }
        }
        let mut positions = HashMap::new();
        let ranges = list(node, EXPECTED, |item| {
            let range = port_range(&item)?;
            for port in range.ports() {
                if let Some(first) = positions.insert(port, item.position) {
                    let message = format!("port {port} is already in line {}", first.line);
                    return Err(Problem::new(item.position, message, "every port once"));
                }
            }
            Ok(range)
        })?;
        Ok(Self::Ports(ranges))
    }
}

impl fmt::Display for ListenerWatch {
    /// YAML that reads back as the same ports.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::All => f.write_str("all"),
            Self::Ports(ranges) => {
                let ranges: Vec<String> = ranges.iter().map(PortRange::to_string).collect();
                write!(f, "[{}]", ranges.join(", "))
            }
        }
    }
}
