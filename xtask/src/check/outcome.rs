//! The outcome of a check, and of a command that is one.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::workspace::shown;

/// The outcome of a check. A check that cannot run has not passed.
pub(crate) enum Outcome {
    Passed,
    Failed(String),
    Skipped(String),
}

impl Outcome {
    /// Passes if there are no problems; lists them otherwise.
    pub(crate) fn from_problems(problems: impl IntoIterator<Item = String>) -> Self {
        let problems: Vec<_> = problems.into_iter().collect();
        if problems.is_empty() { Self::Passed } else { Self::Failed(problems.join("\n")) }
    }

    /// Runs a command, and shows its output only when it fails.
    pub(crate) fn of(command: &mut Command) -> Result<Self> {
        let output =
            command.output().with_context(|| format!("cannot start {}", shown(command)))?;
        if output.status.success() {
            return Ok(Self::Passed);
        }
        let text = [output.stdout, output.stderr].concat();
        Ok(Self::Failed(format!("$ {}\n{}", shown(command), String::from_utf8_lossy(&text))))
    }
}
