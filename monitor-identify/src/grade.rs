//! How sure a verdict is.

use serde::Serialize;

/// How sure a verdict is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// Malformed, or little speaks for it.
    Suspect,
    /// Everything that is there fits, and something that would prove it is not there.
    Consistent,
    /// The structure holds to its end, or a signature that nothing else has is there.
    Confirmed,
}

impl Grade {
    /// Name in JSON and on the page.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Suspect => "suspect",
            Self::Consistent => "consistent",
            Self::Confirmed => "confirmed",
        }
    }
}
