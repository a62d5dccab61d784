//! Messages of `setup`, and of what else changes the machine.

/// Announces a command and its reason.
pub(crate) fn step(command: &str, why: &str) {
    say(&format!("{command}  # {why}"));
}

pub(crate) fn say(text: &str) {
    eprintln!("setup: {text}");
}
