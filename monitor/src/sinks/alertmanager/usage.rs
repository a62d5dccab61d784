//! What keeps an alert active.

use std::sync::Arc;

/// What keeps an alert active.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// A socket of an owner that is not expected holds the watched port, or was bound, refused or answered
    /// for there within the last five minutes.
    Held(u16),
    /// A listener that neither the baseline nor the configuration has is on the port; on any, without one.
    Listening(Option<u16>),
    /// This host talks to the watched port elsewhere, or did within the last five minutes.
    Sending(u16),
}

/// Whether it is so now.
pub type IsInUse = Arc<dyn Fn(Usage) -> bool + Send + Sync>;
