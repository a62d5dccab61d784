//! The proposal as YAML, with its evidence as comments.

use std::{fmt::Write as _, time::Duration};

use super::proposal::Proposal;
use crate::config::{Config, quantity};

/// The page, which is a configuration itself.
pub(super) fn page(proposal: &Proposal, config: &Config, since: Duration) -> String {
    let mut page = String::new();
    // Writing to a string cannot fail.
    let _ = write(&mut page, proposal, config, since);
    page
}

fn write(
    page: &mut String,
    proposal: &Proposal,
    config: &Config,
    since: Duration,
) -> std::fmt::Result {
    let since = quantity::format_duration(since);
    writeln!(
        page,
        "# Proposed by `ghostport learn --since {since}`. Review every entry before you use it."
    )?;
    let additions = &proposal.additions;
    if additions.is_empty() {
        writeln!(page, "# There is nothing to add to the configuration.")?;
    }
    if !additions.ports.is_empty() {
        writeln!(page, "ports:")?;
    }
    for (port, entries) in &additions.ports {
        writeln!(page, "  - port: {port}\n    expect:")?;
        for addition in entries {
            writeln!(page, "      # {}\n      - {}", addition.evidence, addition.entry)?;
        }
    }
    if !additions.listeners.is_empty() {
        writeln!(page, "listeners:\n  expect:")?;
    }
    for addition in &additions.listeners {
        writeln!(page, "    # {}\n    - {}", addition.evidence, addition.entry)?;
    }
    list(page, "Left out", &proposal.left_out)?;
    if proposal.alarms.is_empty() {
        writeln!(page, "# With these entries nothing would have alerted in that time.")?;
    }
    list(page, "With these entries, this would still have alerted in that time", &proposal.alarms)?;
    if config.listeners.watch.is_empty() {
        writeln!(page, "# Listeners are not watched: see listeners.watch.")?;
    }
    Ok(())
}

fn list(page: &mut String, heading: &str, lines: &[String]) -> std::fmt::Result {
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(page, "# {heading}:")?;
    lines.iter().try_for_each(|line| writeln!(page, "#   {line}"))
}
