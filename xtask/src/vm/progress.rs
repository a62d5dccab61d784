//! Messages of the virtual machines.

/// Prints one line of progress.
pub(super) fn say(text: &str) {
    eprintln!("vm: {text}");
}
