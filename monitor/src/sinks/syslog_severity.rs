//! Severities in the numbers of syslog (RFC 5424 section 6.2.1), which the journal has, too.

use crate::event::Severity;

/// Critical conditions, warning conditions and informational messages.
pub(super) const fn syslog_severity(severity: Severity) -> u8 {
    match severity {
        Severity::Critical => 2,
        Severity::Warning => 4,
        Severity::Info => 6,
    }
}
