//! The IP header of a packet.

use monitor_common::{addresses::AddressKey, sampling::AddressWords};

use crate::packet_view::PacketView;

/// The fields of an IP header that sampling needs.
pub(crate) struct Network {
    pub(crate) source: AddressWords,
    pub(crate) destination: AddressWords,
    /// Length of the packet from the IP header on, or 0 where the header does not give it.
    len: u32,
    offset: u32,
    /// Version of IP.
    pub(crate) family: u8,
}

impl Network {
    const IPV6_LEN: u32 = 40;

    /// Reads the header at `offset`.
    #[inline(always)]
    pub(crate) fn read<V: PacketView>(packet: V, offset: u32) -> Option<Self> {
        let words: [u16; 10] = packet.copied(offset)?;
        let len = u32::from(u16::from_be(words[1]));
        if words[0].to_ne_bytes()[0] >> 4 == 4 {
            let source = [u64::from(double(words[6], words[7])), 0];
            let destination = [u64::from(double(words[8], words[9])), 0];
            return Some(Self { source, destination, len, offset, family: 4 });
        }
        let payload_len = u32::from(u16::from_be(words[2]));
        let len = if payload_len == 0 { 0 } else { payload_len + Self::IPV6_LEN };
        let words: [u16; 16] = packet.copied(offset + 8)?;
        let quad = |first: usize| {
            let one = u64::from(double(words[first], words[first + 1]));
            let other = u64::from(double(words[first + 2], words[first + 3]));
            if cfg!(target_endian = "little") { one | other << 32 } else { one << 32 | other }
        };
        let (source, destination) = ([quad(0), quad(4)], [quad(8), quad(12)]);
        Some(Self { source, destination, len, offset, family: 6 })
    }

    /// The source, for a lookup among the addresses of this host.
    #[inline(always)]
    pub(crate) const fn source_key(&self) -> AddressKey {
        self.key(self.source)
    }

    /// The destination, as [`Self::source_key`].
    #[inline(always)]
    pub(crate) const fn destination_key(&self) -> AddressKey {
        self.key(self.destination)
    }

    #[inline(always)]
    const fn key(&self, address: AddressWords) -> AddressKey {
        if self.family == 4 {
            AddressKey::of_ipv4(address[0])
        } else {
            AddressKey::of_ipv6(address)
        }
    }

    /// Bytes behind the transport header. Where the IP header gives no length, the packet's end
    /// counts.
    #[inline(always)]
    pub(crate) fn payload_len<V: PacketView>(&self, packet: V, headers: u32) -> u32 {
        let end = if self.len == 0 { packet.len() } else { self.offset + self.len };
        end.saturating_sub(headers)
    }
}

/// Two words as one, in the order of memory.
#[inline(always)]
pub(crate) const fn double(first: u16, second: u16) -> u32 {
    if cfg!(target_endian = "little") {
        first as u32 | (second as u32) << 16
    } else {
        (first as u32) << 16 | second as u32
    }
}
