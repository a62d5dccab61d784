//! An error as one message.

use super::escape::escaped;

/// The error and its causes, in one line. A cause that the message before it contains already, as
/// messages of most libraries do, is not repeated. Names in it that could steer a terminal are
/// escaped.
pub fn message(error: &anyhow::Error) -> String {
    let mut message = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !message.contains(&cause) {
            let colon = if message.is_empty() { "" } else { ": " };
            message = message + colon + &cause;
        }
    }
    escaped(&message).into_owned()
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot listen: {source}; stop the other")]
    struct Listening {
        source: io::Error,
    }

    #[test]
    fn a_cause_is_not_repeated() {
        let error = anyhow::Error::new(Listening { source: io::Error::other("in use") });
        assert_eq!(
            message(&error.context("no start")),
            "no start: cannot listen: in use; stop the other"
        );
        let error = anyhow::anyhow!("in use").context("cannot listen");
        assert_eq!(message(&error), "cannot listen: in use");
    }

    #[test]
    fn a_file_name_cannot_steer_the_terminal() {
        let error = anyhow::anyhow!("not found").context("cannot open \u{1b}[2J\u{202e}.pcap");
        assert_eq!(message(&error), "cannot open \\u{1b}[2J\\u{202e}.pcap: not found");
    }
}
