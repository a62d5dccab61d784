//! What came of an attack.

/// How much of an attack is carried out.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// As much as shows that the defence is there, and no more.
    pub is_short: bool,
    /// Whether the clock of the machine may be set.
    pub may_set_clock: bool,
}

impl Extent {
    /// A number that depends on it.
    pub fn of(self, short: u64, whole: u64) -> u64 {
        if self.is_short { short } else { whole }
    }
}

/// The outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The attack did not reach its aim.
    Repelled,
    /// It did.
    Succeeded,
    /// It cannot be tried here.
    Skipped,
}

impl Verdict {
    /// As the table shows it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Repelled => "repelled",
            Self::Succeeded => "SUCCEEDED",
            Self::Skipped => "skipped",
        }
    }
}

/// What was tried, and what was measured.
#[derive(Clone, Debug)]
pub struct Measure {
    /// What the attacker did.
    pub tried: String,
    /// What that did to the agent.
    pub seen: String,
    /// Whether that was the aim.
    pub verdict: Verdict,
}

impl Measure {
    /// Of an attack that was carried out.
    pub fn new(tried: impl Into<String>, seen: impl Into<String>, is_repelled: bool) -> Self {
        let verdict = if is_repelled { Verdict::Repelled } else { Verdict::Succeeded };
        Self { tried: tried.into(), seen: seen.into(), verdict }
    }

    /// Of one that this machine does not allow.
    pub fn skipped(tried: impl Into<String>, why: impl Into<String>) -> Self {
        Self { tried: tried.into(), seen: why.into(), verdict: Verdict::Skipped }
    }
}
