//! The parts of the word that remembers a flow.

use crate::limits::CONVERSATIONS;

/// The part that identifies the flow.
pub(crate) const FLOW: u64 = 0xffff_fffc_0000_0000;

/// The part of it that is not the index of the word among
/// [`CONVERSATIONS`] anyway.
pub(crate) const FLOW_IN_SLOT: u64 = FLOW & (u64::MAX >> CONVERSATIONS.trailing_zeros());

/// The part that says what is known of the flow.
pub(crate) const STATE: u64 = 3 << 32;
