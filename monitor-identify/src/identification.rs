//! What is said of a payload.

use std::borrow::Cow;

use serde::Serialize;

use crate::{Details, Grade, Verdict, evidence::Evidence};

/// What a payload is, how sure that is, and why.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Identification {
    /// What it is.
    pub verdict: Verdict,
    /// How sure that is.
    pub grade: Grade,
    /// Why, in a sentence for the operator.
    pub reason: Cow<'static, str>,
    /// What the payload says of itself.
    pub details: Details,
}

impl Identification {
    /// A verdict without details.
    pub fn new(verdict: Verdict, grade: Grade, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { verdict, grade, reason: reason.into(), details: Details::default() }
    }

    /// The structure or the signature proves it.
    pub(crate) fn confirmed(verdict: Verdict, reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(verdict, Grade::Confirmed, reason)
    }

    /// Everything fits, nothing proves it.
    pub(crate) fn consistent(verdict: Verdict, reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(verdict, Grade::Consistent, reason)
    }

    /// Malformed, or little speaks for it.
    pub(crate) fn suspect(verdict: Verdict, reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(verdict, Grade::Suspect, reason)
    }

    /// A verdict whose grade follows from the evidence; `None` if there is too little.
    pub(crate) fn graded(
        verdict: Verdict,
        bits: u32,
        reason: impl Into<Cow<'static, str>>,
    ) -> Option<Self> {
        let grade = Evidence::bits(bits).grade()?;
        Some(Self::new(verdict, grade, reason))
    }

    /// Whether the first segments say more by themselves than with what follows them: they are more
    /// specific or surer, or as much so and something else, which then ended with its segment.
    pub fn is_better_than_with_more(&self, with_more: &Self) -> bool {
        self.rank() > with_more.rank()
            || (self.rank() == with_more.rank() && self.verdict != with_more.verdict)
    }

    /// How much it says, and how sure that is.
    pub(crate) const fn rank(&self) -> (u8, Grade) {
        (self.verdict.specificity(), self.grade)
    }

    /// The same with these details.
    pub(crate) fn with(mut self, details: Details) -> Self {
        self.details = details;
        self
    }
}
