//! Serde of small enums by the names that the program uses everywhere else, for `#[serde(with)]`.

use monitor_common::flow::{Protocol, Side};
use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

use super::{
    end::TargetScope,
    socket::{Began, Family},
};
use crate::sockets::{CaptureKind, Path, Proxy, SocketScope, TcpState};

/// An enum each of whose values has a name.
pub trait Named: Copy + 'static {
    /// Every value.
    const ALL: &'static [Self];

    /// The name of this one.
    fn name(self) -> &'static str;
}

impl Named for Protocol {
    const ALL: &'static [Self] = &Self::ALL;

    fn name(self) -> &'static str {
        Self::name(self)
    }
}

impl Named for Side {
    const ALL: &'static [Self] = &Self::ALL;

    fn name(self) -> &'static str {
        Self::name(self)
    }
}

impl Named for Family {
    const ALL: &'static [Self] = &[Self::Ipv4, Self::Ipv6];

    fn name(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        }
    }
}

impl Named for CaptureKind {
    const ALL: &'static [Self] = &Self::ALL;

    fn name(self) -> &'static str {
        Self::name(self)
    }
}

impl Named for Path {
    const ALL: &'static [Self] = &Self::ALL;

    fn name(self) -> &'static str {
        Self::name(self)
    }
}

impl Named for Proxy {
    const ALL: &'static [Self] = &Self::ALL;

    fn name(self) -> &'static str {
        Self::name(self)
    }
}

impl Named for SocketScope {
    const ALL: &'static [Self] = &[Self::Host, Self::World];

    fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::World => "world",
        }
    }
}

impl Named for Began {
    const ALL: &'static [Self] = &[Self::Peer];

    fn name(self) -> &'static str {
        match self {
            Self::Peer => "peer",
        }
    }
}

impl Named for TargetScope {
    const ALL: &'static [Self] = &[Self::Host, Self::Namespace, Self::Elsewhere];

    fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Namespace => "namespace",
            Self::Elsewhere => "elsewhere",
        }
    }
}

impl Named for TcpState {
    const ALL: &'static [Self] = &[
        Self::Established,
        Self::SynSent,
        Self::SynReceived,
        Self::FinWait1,
        Self::FinWait2,
        Self::TimeWait,
        Self::Bound,
        Self::CloseWait,
        Self::LastAck,
        Self::Listen,
        Self::Closing,
    ];

    fn name(self) -> &'static str {
        Self::name(self)
    }
}

/// Writes the name.
pub fn serialize<T: Named, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(value.name())
}

/// Reads a name; one that is not known is an error.
pub fn deserialize<'de, T: Named, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    by_name(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

fn by_name<T: Named>(name: &str) -> Result<T, String> {
    let value = T::ALL.iter().copied().find(|value| value.name() == name);
    value.ok_or_else(|| {
        let known: Vec<&str> = T::ALL.iter().map(|value| value.name()).collect();
        format!("{name:?} is none of {}", known.join(", "))
    })
}

/// The same for a value that may be absent.
pub mod option {
    use super::*;

    /// Writes the name, or null.
    pub fn serialize<T: Named, S: Serializer>(
        value: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => super::serialize(value, serializer),
            None => serializer.serialize_none(),
        }
    }

    /// Reads a name or null.
    pub fn deserialize<'de, T: Named, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<T>, D::Error> {
        let name = Option::<String>::deserialize(deserializer)?;
        name.map(|name| by_name(&name)).transpose().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_back() {
        fn check<T: Named + PartialEq + std::fmt::Debug>() {
            for value in T::ALL {
                assert_eq!(by_name::<T>(value.name()), Ok(*value));
            }
        }
        check::<Protocol>();
        check::<Side>();
        check::<Family>();
        check::<CaptureKind>();
        check::<Path>();
        check::<SocketScope>();
        check::<Began>();
        check::<TargetScope>();
        check::<TcpState>();
    }

    #[test]
    fn an_unknown_name_is_refused_with_those_that_are_known() {
        let error = by_name::<Protocol>("dccp").expect_err("an error");
        assert_eq!(error, r#""dccp" is none of tcp, udp, udplite, sctp"#);
    }
}
