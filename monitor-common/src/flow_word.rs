//! The parts of the word that remembers a flow.

/// The part that identifies the flow.
pub(crate) const FLOW: u64 = 0xffff_fffc_0000_0000;

/// The part that says what is known of the flow.
pub(crate) const STATE: u64 = 3 << 32;
