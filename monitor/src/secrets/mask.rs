//! The mask.

/// What stands where a secret was.
pub const MASK: &str = "***";
