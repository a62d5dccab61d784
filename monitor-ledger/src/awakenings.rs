//! How often a port was awakened.

use serde::{Deserialize, Serialize};

use crate::transition::{Cause, Wake};

/// Awakenings of a port by cause. In the saved form the counts of expected owners are apart, because
/// earlier versions knew only one count for each cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Awakenings {
    #[serde(rename = "awakenings", default, skip_serializing_if = "is_zero")]
    others: [u64; 2],
    #[serde(rename = "expected_awakenings", default, skip_serializing_if = "is_zero")]
    expected: [u64; 2],
}

impl Awakenings {
    pub(super) const fn count(&mut self, wake: Wake) {
        let counts = if wake.is_expected() { &mut self.expected } else { &mut self.others };
        counts[wake.cause() as usize] += 1;
    }

    pub(super) const fn get(&self, cause: Cause, expected: bool) -> u64 {
        let counts = if expected { &self.expected } else { &self.others };
        counts[cause as usize]
    }
}

fn is_zero(counts: &[u64; 2]) -> bool {
    *counts == [0; 2]
}
