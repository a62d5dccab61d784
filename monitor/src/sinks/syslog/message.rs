//! An event as a message of RFC 5424. Pure.

use crate::{
    event::{EncodedEvent, EventName},
    sinks::syslog_severity::syslog_severity,
};

/// System daemons (RFC 5424 section 6.2.1).
const FACILITY: u8 = 3;

/// The longest name of a host (RFC 5424 section 6).
const LONGEST_HOST: usize = 255;

/// The message of an event: its JSON, with `sequence` in the structured data, by which a receiver
/// notices that one is missing (RFC 5424 section 7.3.1).
pub(super) fn message(encoded: &EncodedEvent, process_id: u32, sequence: u32) -> String {
    let event = &encoded.event;
    format!(
        "<{priority}>1 {time:.6} {host} ghostport {process_id} {kind} [meta sequenceId=\"{sequence}\"] {json}",
        priority = FACILITY * 8 + syslog_severity(event.severity()),
        time = event.time,
        host = host(&event.host_name),
        kind = EventName::kind(event.name()),
        json = encoded.line.json(),
    )
}

/// The number after `sequence`: from 1 to 2147483647, and again from 1.
pub(super) const fn next_sequence(sequence: u32) -> u32 {
    if sequence >= i32::MAX as u32 { 1 } else { sequence + 1 }
}

/// A message on a stream, behind its length (RFC 6587 section 3.4.1, RFC 5425 section 4.3).
pub(super) fn counted(message: &str) -> String {
    format!("{} {message}", message.len())
}

/// A name of printable characters, or the value for none.
fn host(name: &str) -> String {
    let name: String = name.chars().filter(char::is_ascii_graphic).take(LONGEST_HOST).collect();
    if name.is_empty() { "-".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::testing;

    fn encoded(name: EventName) -> EncodedEvent {
        EncodedEvent::new(testing::event(name)).expect("JSON")
    }

    #[test]
    fn an_event_is_a_header_and_its_json() {
        let event = encoded(EventName::Bind);
        let head =
            "<30>1 1970-01-01T00:00:01.000000Z web1 ghostport 7 bind [meta sequenceId=\"9\"] ";
        assert_eq!(message(&event, 7, 9), format!("{head}{}", event.line.json()));
    }

    #[test]
    fn severities_are_those_of_syslog() {
        assert!(message(&encoded(EventName::Awakened), 7, 1).starts_with("<26>1 "));
        assert!(message(&encoded(EventName::UnexpectedOwner), 7, 1).starts_with("<26>1 "));
        assert!(message(&encoded(EventName::AgentStarted), 7, 1).starts_with("<30>1 "));
    }

    #[test]
    fn a_message_is_one_line_of_every_kind() {
        for name in EventName::ALL {
            let message = message(&encoded(name), 7, 1);
            assert!(!message.contains('\n'), "{message}");
            assert_eq!(message.split(' ').nth(5), Some(name.kind()), "{message}");
            assert_eq!(counted(&message), format!("{} {message}", message.len()));
        }
    }

    #[test]
    fn a_host_without_a_printable_name_has_none() {
        assert_eq!(host("a b\u{e9}\n"), "ab");
        assert_eq!(host("\u{e9}"), "-");
        assert_eq!(host(&"x".repeat(300)).len(), 255);
    }

    #[test]
    fn sequences_begin_again() {
        assert_eq!(next_sequence(1), 2);
        assert_eq!(next_sequence(i32::MAX as u32), 1);
    }
}
