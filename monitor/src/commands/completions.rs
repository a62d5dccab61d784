//! `ghostport completions`: the script that completes commands and arguments in a shell.

use std::process::ExitCode;

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::{cli::Cli, terminal::output::print};

/// Prints the script.
pub fn run(shell: Shell) -> ExitCode {
    print(script(shell))
}

fn script(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "ghostport", &mut script);
    script
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn every_shell_has_completions() {
        for shell in Shell::value_variants() {
            let script = String::from_utf8(script(*shell)).expect("text");
            assert!(script.contains("keep-attached"), "{shell}");
        }
    }
}
