//! Bytes of a packet of which little is known, in the registers of nftables.

use std::net::IpAddr;

/// Registers hold 16 words of four bytes.
pub(super) const WORDS: usize = 16;

/// A byte of a register.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Byte {
    #[default]
    Unknown,
    Known(u8),
    /// A known byte that is part of the port.
    Port(u8),
    /// A byte of the destination at this place, of which these bits are kept.
    Destination {
        at: usize,
        mask: u8,
    },
}

impl Byte {
    pub(super) const fn value(self) -> Option<u8> {
        match self {
            Self::Known(value) | Self::Port(value) => Some(value),
            Self::Unknown | Self::Destination { .. } => None,
        }
    }
}

/// The first byte of a register: those of 16 bytes are numbered from 1, those of four from 8.
pub(super) fn register(number: u32) -> Option<usize> {
    let number = number as usize;
    match number {
        1..=4 => Some((number - 1) * 16),
        8..24 => Some((number - 8) * 4),
        _ => None,
    }
}

pub(super) fn known(bytes: &[Byte]) -> Option<Vec<u8>> {
    bytes.iter().map(|byte| byte.value()).collect()
}

pub(super) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}
