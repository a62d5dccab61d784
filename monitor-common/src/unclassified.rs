//! Packets whose ports cannot be determined.

/// Reason for which the ports of a packet cannot be determined; its value is the index of its counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Unclassified {
    /// A fragment other than the first: it has no transport header.
    Fragment = 0,
    /// The packet ends before the last byte of a header that it promises.
    Truncated = 1,
    /// More IPv6 extension headers than [`MAX_EXTENSION_HEADERS`](crate::packet::MAX_EXTENSION_HEADERS).
    ExtensionHeaders = 2,
    /// More VLAN tags than [`MAX_VLAN_TAGS`](crate::packet::MAX_VLAN_TAGS).
    VlanTags = 3,
    /// The version or header length of an IP header contradicts itself.
    Malformed = 4,
}

impl Unclassified {
    /// Number of causes.
    pub const COUNT: usize = 5;

    /// Every cause, in the order of its index.
    pub const ALL: [Self; Self::COUNT] =
        [Self::Fragment, Self::Truncated, Self::ExtensionHeaders, Self::VlanTags, Self::Malformed];

    /// Name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fragment => "fragment",
            Self::Truncated => "truncated",
            Self::ExtensionHeaders => "extension_headers",
            Self::VlanTags => "vlan_tags",
            Self::Malformed => "malformed",
        }
    }
}
