//! A value for each transport protocol.

use std::{
    fmt,
    marker::PhantomData,
    ops::{Index, IndexMut},
};

use monitor_common::flow::Protocol;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, SeqAccess, Visitor},
    ser::SerializeSeq as _,
};

/// A value for each [`Protocol`].
///
/// Saved as a list that ends with the last common protocol, or with the last rare one that has a value:
/// so it was saved when there were only common protocols.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ByProtocol<T>([T; Protocol::COUNT]);

impl<T> ByProtocol<T> {
    pub(super) fn map<U>(self, each: impl FnMut(T) -> U) -> ByProtocol<U> {
        ByProtocol(self.0.map(each))
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, T> {
        self.0.iter()
    }

    pub(super) fn iter_mut(&mut self) -> std::slice::IterMut<'_, T> {
        self.0.iter_mut()
    }
}

impl<T: Copy> ByProtocol<T> {
    /// The value of a protocol.
    pub(super) const fn get(&self, protocol: Protocol) -> T {
        self.0[protocol as usize]
    }
}

impl<T> Index<Protocol> for ByProtocol<T> {
    type Output = T;

    fn index(&self, protocol: Protocol) -> &T {
        &self.0[protocol as usize]
    }
}

impl<T> IndexMut<Protocol> for ByProtocol<T> {
    fn index_mut(&mut self, protocol: Protocol) -> &mut T {
        &mut self.0[protocol as usize]
    }
}

impl<T> IntoIterator for ByProtocol<T> {
    type Item = T;
    type IntoIter = std::array::IntoIter<T, { Protocol::COUNT }>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<T: Serialize + Default + PartialEq> Serialize for ByProtocol<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let has_value = |value: &T| *value != T::default();
        let used = self.0.iter().rposition(has_value).map_or(0, |last| last + 1);
        let len = used.max(Protocol::COMMON.len());
        let mut list = serializer.serialize_seq(Some(len))?;
        for value in &self.0[..len] {
            list.serialize_element(value)?;
        }
        list.end()
    }
}

impl<'de, T: Deserialize<'de> + Default> Deserialize<'de> for ByProtocol<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(List(PhantomData))
    }
}

struct List<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de> + Default> Visitor<'de> for List<T> {
    type Value = ByProtocol<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {} values", Protocol::COUNT)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut values = ByProtocol::default();
        for protocol in Protocol::ALL {
            match list.next_element()? {
                Some(value) => values[protocol] = value,
                None => return Ok(values),
            }
        }
        if list.next_element::<T>()?.is_some() {
            return Err(de::Error::invalid_length(Protocol::COUNT + 1, &self));
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_was_saved_with_two_protocols_and_saves_the_same() {
        let saved = "[1,0]";
        let values: ByProtocol<u64> = serde_json::from_str(saved).expect("a list");
        assert_eq!(values, ByProtocol([1, 0, 0, 0]));
        assert_eq!(serde_json::to_string(&values).expect("text"), saved);
    }

    #[test]
    fn a_rare_protocol_is_saved_if_it_has_a_value() {
        for values in [[0, 0, 0, 7], [1, 2, 3, 0], [0; 4]].map(ByProtocol::<u64>) {
            let text = serde_json::to_string(&values).expect("text");
            assert_eq!(serde_json::from_str::<ByProtocol<u64>>(&text).expect("a list"), values);
        }
        assert!(serde_json::from_str::<ByProtocol<u64>>("[1,2,3,4,5]").is_err());
    }
}
