//! Why the kernel side could not do its work: counted per cause, never silent.

/// Cause of a failure in the kernel side; the index into the error counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum KernelError {
    /// The ring buffer was full, or a share of it used up, and there was no room to sum up the call:
    /// the event is lost, the counters are not.
    RingFull = 0,
    /// The address given to `bind(2)` could not be read from the caller's memory.
    AddressUnreadable = 1,
    /// More threads inside `bind(2)` than the map of calls in flight can hold.
    InFlightFull = 2,
    /// A kernel struct could not be read at the offset that its BTF gave.
    StructUnreadable = 3,
    /// A watched port without a slot in its interface's counters.
    SlotMissing = 4,
    /// A packet arrived on an interface that has no counters.
    InterfaceMissing = 5,
    /// More ports with UDP-Lite or SCTP than can be counted at once, or no memory for another one.
    RareFull = 6,
}

impl KernelError {
    /// How many causes there are.
    pub const COUNT: usize = 7;

    /// Every cause, in the order of its index.
    pub const ALL: [Self; Self::COUNT] = [
        Self::RingFull,
        Self::AddressUnreadable,
        Self::InFlightFull,
        Self::StructUnreadable,
        Self::SlotMissing,
        Self::InterfaceMissing,
        Self::RareFull,
    ];

    /// Name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RingFull => "ring_full",
            Self::AddressUnreadable => "address_unreadable",
            Self::InFlightFull => "in_flight_full",
            Self::StructUnreadable => "struct_unreadable",
            Self::SlotMissing => "slot_missing",
            Self::InterfaceMissing => "interface_missing",
            Self::RareFull => "rare_full",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::KernelError;

    #[test]
    fn index_is_position() {
        for (position, cause) in KernelError::ALL.iter().enumerate() {
            assert_eq!(*cause as usize, position);
        }
    }
}
