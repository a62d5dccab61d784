//! The proposal as YAML, with its evidence as comments.

use std::{
    fmt::{self, Write as _},
    time::Duration,
};

use super::proposal::Proposal;
use crate::{
    config::{Config, quantity},
    terminal::{
        page::{Page, Paper},
        tone::Tone,
    },
};

/// The page, which is a configuration itself. Only its comments are wrapped on a terminal.
pub(super) fn page(proposal: &Proposal, config: &Config, since: Duration, paper: Paper) -> String {
    Page::written(paper, |page| write(page, proposal, config, since))
}

fn write(page: &mut Page, proposal: &Proposal, config: &Config, since: Duration) -> fmt::Result {
    let since = quantity::format_duration(since);
    page.comment(
        "# ",
        &format!(
            "Proposed by `ghostport learn --since {since}`. Review every entry before you use it."
        ),
    )?;
    let additions = &proposal.additions;
    if additions.is_empty() {
        page.comment("# ", "There is nothing to add to the configuration.")?;
    }
    if !additions.ports.is_empty() {
        writeln!(page, "ports:")?;
    }
    for (port, entries) in &additions.ports {
        writeln!(page, "  - port: {port}\n    expect:")?;
        for addition in entries {
            page.comment("      # ", &addition.evidence)?;
            writeln!(page, "      - {}", addition.entry)?;
        }
    }
    if !additions.listeners.is_empty() {
        writeln!(page, "listeners:\n  expect:")?;
    }
    for addition in &additions.listeners {
        page.comment("    # ", &addition.evidence)?;
        writeln!(page, "    - {}", addition.entry)?;
    }
    list(page, "Left out", &proposal.left_out)?;
    if proposal.alarms.is_empty() {
        page.comment("# ", "With these entries nothing would have alerted in that time.")?;
    }
    list(page, "With these entries, this would still have alerted in that time", &proposal.alarms)?;
    if config.listeners.watch.is_empty() {
        page.comment("# ", "Listeners are not watched: see listeners.watch.")?;
    }
    Ok(())
}

fn list(page: &mut Page, heading: &str, lines: &[String]) -> fmt::Result {
    if lines.is_empty() {
        return Ok(());
    }
    let heading = page.styled(Tone::Notice.style(), &format!("# {heading}:"));
    writeln!(page, "{heading}")?;
    lines.iter().try_for_each(|line| page.comment("#   ", line))
}
