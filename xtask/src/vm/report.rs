//! The table: kernel by test, with times.

use std::{fmt, time::Duration};

use super::{
    kernels::Kernel,
    outcome::{Lived, Outcome},
    table::Row,
};

/// Everything that was run.
pub(super) struct Report {
    pub(super) kernels: Vec<Kernel>,
    pub(super) rows: Vec<Row>,
    pub(super) lived: Lived,
}

impl Report {
    pub(super) fn passed(&self) -> bool {
        self.lived.values().all(|(outcome, _)| matches!(outcome, Outcome::Passed { .. }))
    }

    fn cell(&self, kernel: &Kernel, row: &Row) -> String {
        match self.lived.get(&(kernel.line.name, row.name)) {
            Some((outcome, took)) => cell(outcome, *took),
            None => "not run".to_owned(),
        }
    }

    fn skips(&self) -> impl Iterator<Item = String> {
        self.lived.iter().flat_map(|((line, row), (outcome, _))| {
            let skipped = match outcome {
                Outcome::Passed { skipped, .. } => skipped.as_slice(),
                _ => &[],
            };
            skipped
                .iter()
                .map(move |skip| format!("skipped on {line}: {row}, {}: {}", skip.test, skip.why))
        })
    }

    fn failures(&self) -> impl Iterator<Item = String> {
        self.lived.iter().filter_map(|((line, row), (outcome, _))| match outcome {
            Outcome::Passed { .. } => None,
            Outcome::Failed { why, console } | Outcome::Died { why, console } => Some(format!(
                "\n--- {line} {row}: {why}; the last lines of its console:\n{console}\n---"
            )),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for failure in self.failures() {
            writeln!(f, "{failure}")?;
        }
        let first = self.rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
        write!(f, "\n{:first$}", "")?;
        for kernel in &self.kernels {
            write!(f, "  {:>WIDTH$}", kernel.line.name)?;
        }
        for row in &self.rows {
            write!(f, "\n{:first$}", row.name)?;
            for kernel in &self.kernels {
                write!(f, "  {:>WIDTH$}", self.cell(kernel, row))?;
            }
        }
        writeln!(f, "\n")?;
        for kernel in &self.kernels {
            writeln!(f, "{} is {}", kernel.line.name, kernel.release)?;
        }
        for skip in self.skips() {
            writeln!(f, "{skip}")?;
        }
        let passed = self.lived.values().filter(|(o, _)| matches!(o, Outcome::Passed { .. }));
        let (passed, all) = (passed.count(), self.lived.len());
        writeln!(f, "vm: {passed} of {all} guests passed")
    }
}

/// Width of a column of the table.
const WIDTH: usize = 18;

fn cell(outcome: &Outcome, took: Duration) -> String {
    let seconds = took.as_secs_f32();
    match outcome {
        Outcome::Passed { tests, .. } => format!("{tests} ok {seconds:.1} s"),
        Outcome::Failed { .. } => format!("FAILED {seconds:.1} s"),
        Outcome::Died { .. } => format!("DIED {seconds:.1} s"),
    }
}

/// An outcome in half a line.
pub(super) fn brief(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Passed { tests, skipped } if skipped.is_empty() => format!("{tests} passed"),
        Outcome::Passed { tests, skipped } => format!("{tests} passed, {} skipped", skipped.len()),
        Outcome::Failed { why, .. } => format!("FAILED: {why}"),
        Outcome::Died { why, .. } => format!("DIED: {why}"),
    }
}
