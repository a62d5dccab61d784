//! Whether the body of a push is what its content type says.

use super::{cir, content_type::Kind, header::Value, mms, provisioning, service, wbxml};
use crate::reader::is_printable;

/// Whether the body is what the content type says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Agreement {
    Agrees,
    Disagrees,
    /// There is no body, or none that could be told apart.
    Unknown,
}

/// Whether a body is of that kind, and the bits of evidence in it.
pub(super) fn agreement(kind: Kind, body: &[u8]) -> (Agreement, u32) {
    const WBXML: u32 = 22;
    let is_xml = body.starts_with(b"<?xml");
    let bits = match kind {
        _ if body.is_empty() => return (Agreement::Unknown, 0),
        Kind::Other => return (Agreement::Unknown, 0),
        Kind::ServiceIndication | Kind::ServiceLoading | Kind::Provisioning if is_xml => 24,
        Kind::Mms if mms::begins(body) => mms::EVIDENCE,
        Kind::ServiceIndication if wbxml::begins(body, service::INDICATION_PUBLIC_ID) => WBXML,
        Kind::ServiceLoading if wbxml::begins(body, service::LOADING_PUBLIC_ID) => WBXML,
        Kind::Provisioning if wbxml::begins(body, provisioning::PUBLIC_ID) => WBXML,
        Kind::WvCir if cir::begins(body) => 24,
        Kind::Wbxml if wbxml::begins_any(body) => 12,
        // Text behind a few bytes is found everywhere: it takes a header as well.
        Kind::Text if is_text(body) => body.len().min(8) as u32,
        _ => return (Agreement::Disagrees, 0),
    };
    (Agreement::Agrees, bits)
}

/// Whether the application that a push is for is the one that reads such a body.
pub(super) fn is_read_by(kind: Kind, application: Option<Value<'_>>) -> bool {
    const WML: u8 = 2;
    const MMS: u8 = 4;
    const WV: u8 = 10;
    let Some(Value::Short(application)) = application else { return false };
    matches!(
        (kind, application),
        (Kind::ServiceIndication | Kind::ServiceLoading, WML)
            | (Kind::Mms, MMS)
            | (Kind::WvCir, WV)
    )
}

fn is_text(body: &[u8]) -> bool {
    let start = body.get(..64).unwrap_or(body);
    start.split(|byte| matches!(byte, b'\r' | b'\n' | b'\t')).all(is_printable)
}
