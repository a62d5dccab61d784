//! What a look shows of command lines.

use crate::config::{CommandLines, Config};

/// At least masked ones, even where the agent shows none: a look is for those who may see them anyway.
pub(super) const fn command_lines(config: &Config) -> CommandLines {
    match config.command_line {
        CommandLines::Full => CommandLines::Full,
        CommandLines::Masked | CommandLines::Omitted => CommandLines::Masked,
    }
}
