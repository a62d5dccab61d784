//! Tables of signatures, and the index that finds the few that a payload may match.
//!
//! There are more than a hundred signatures, and calling each of them would cost more than the one
//! that matches. The index has a set of candidates for every first byte, computed at compile time.

use monitor_common::flow::Protocol;

use crate::{Identification, Payload};

/// Identifies one protocol.
#[derive(Clone, Copy)]
pub(crate) struct Signature {
    /// The transport that the protocol uses; `None` where it uses both.
    transport: Option<Protocol>,
    /// The bytes that its payloads begin with.
    first: &'static [u8],
    identify: fn(&Payload<'_>) -> Option<Identification>,
}

impl Signature {
    /// A protocol over TCP.
    pub(crate) const fn tcp(
        first: &'static [u8],
        identify: fn(&Payload<'_>) -> Option<Identification>,
    ) -> Self {
        Self { transport: Some(Protocol::Tcp), first, identify }
    }

    /// A protocol over UDP.
    pub(crate) const fn udp(
        first: &'static [u8],
        identify: fn(&Payload<'_>) -> Option<Identification>,
    ) -> Self {
        Self { transport: Some(Protocol::Udp), first, identify }
    }

    /// A protocol over both.
    pub(crate) const fn either(
        first: &'static [u8],
        identify: fn(&Payload<'_>) -> Option<Identification>,
    ) -> Self {
        Self { transport: None, first, identify }
    }

    /// Identifies a payload, of which transport and first byte are not checked again.
    pub(crate) fn apply(&self, payload: &Payload<'_>) -> Option<Identification> {
        (self.identify)(payload)
    }
}

/// First bytes that signatures share.
pub(crate) mod first {
    /// Any byte.
    pub(crate) const ANY: &[u8] = &range::<256>(0);
    /// `A` to `Z`.
    pub(crate) const UPPER: &[u8] = &range::<26>(b'A');
    /// Printable ASCII.
    pub(crate) const PRINTABLE: &[u8] = &range::<95>(b' ');
    /// The high bit is set.
    pub(crate) const HIGH: &[u8] = &range::<128>(0x80);

    /// `N` bytes from `start` on.
    pub(crate) const fn range<const N: usize>(start: u8) -> [u8; N] {
        let mut bytes = [0; N];
        let mut index = 0;
        while index < N {
            bytes[index] = start.wrapping_add(index as u8);
            index += 1;
        }
        bytes
    }
}

/// A table of signatures with its index.
pub(crate) struct Table {
    signatures: &'static [Signature],
    /// For every first byte, the signatures that payloads with it may match: a bit for each.
    candidates: [u128; 256],
    /// The signatures of protocols over TCP.
    over_tcp: u128,
    /// The signatures of protocols over UDP.
    over_udp: u128,
}

impl Table {
    /// Builds the index of a table, which has the most specific signature first.
    ///
    /// # Panics
    /// At compile time, if there are more than 128 signatures.
    pub(crate) const fn new(signatures: &'static [Signature]) -> Self {
        assert!(signatures.len() <= 128, "one bit of a u128 each");
        let mut table = Self { signatures, candidates: [0; 256], over_tcp: 0, over_udp: 0 };
        let mut index = 0;
        while index < signatures.len() {
            let bit = 1 << index;
            let first = signatures[index].first;
            let mut at = 0;
            while at < first.len() {
                table.candidates[first[at] as usize] |= bit;
                at += 1;
            }
            match signatures[index].transport {
                Some(Protocol::Tcp) => table.over_tcp |= bit,
                Some(Protocol::Udp) => table.over_udp |= bit,
                Some(Protocol::UdpLite | Protocol::Sctp) => {}
                None => {
                    table.over_tcp |= bit;
                    table.over_udp |= bit;
                }
            }
            index += 1;
        }
        table
    }

    /// The result of the first signature that matches.
    pub(crate) fn identify(&self, payload: &Payload<'_>) -> Option<Identification> {
        let first = *payload.bytes.first()?;
        let transport = match payload.transport {
            Some(Protocol::Tcp) => self.over_tcp,
            Some(Protocol::Udp) => self.over_udp,
            Some(Protocol::UdpLite | Protocol::Sctp) => 0,
            None => u128::MAX,
        };
        let mut candidates = self.candidates[usize::from(first)] & transport;
        while candidates != 0 {
            let index = candidates.trailing_zeros() as usize;
            candidates &= candidates - 1;
            if let Some(found) = self.signatures[index].apply(payload) {
                return Some(found);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Verdict;

    fn tls(_: &Payload<'_>) -> Option<Identification> {
        Some(Identification::confirmed(Verdict::Tls, "test"))
    }

    fn dns(_: &Payload<'_>) -> Option<Identification> {
        Some(Identification::confirmed(Verdict::Dns, "test"))
    }

    static TABLE: Table =
        Table::new(&[Signature::tcp(&[22, 23], tls), Signature::either(first::ANY, dns)]);

    #[test]
    fn first_byte_and_transport_select_the_signatures() {
        let verdict = |bytes: &[u8], transport| {
            let payload = Payload { transport, ..Payload::of(bytes) };
            TABLE.identify(&payload).map(|found| found.verdict)
        };
        assert_eq!(verdict(&[22], Some(Protocol::Tcp)), Some(Verdict::Tls));
        assert_eq!(verdict(&[22], Some(Protocol::Udp)), Some(Verdict::Dns));
        assert_eq!(verdict(&[23], None), Some(Verdict::Tls));
        assert_eq!(verdict(&[0], None), Some(Verdict::Dns));
        assert_eq!(verdict(&[], None), None);
    }
}
