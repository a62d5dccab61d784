//! Whether the body of a push is what its content type says.

use super::{cir, content_type::Kind, header::Value, mms, provisioning, service, wbxml};
use crate::reader::is_printable;

/// Whether the body is what the content type says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Agreement {
    Agrees,
    Disagrees,
    /// There is no body, or none that could be recognised.
    Unknown,
}

/// Whether a body is of that kind, and the bits of evidence in it.
pub(super) fn agreement(kind: Kind, body: &[u8]) -> (Agreement, u32) {
    let bits = match kind {
        _ if body.is_empty() => return (Agreement::Unknown, 0),
        Kind::Other => return (Agreement::Unknown, 0),
        Kind::ServiceIndication | Kind::ServiceLoading | Kind::Provisioning if is_xml(body) => {
            Some(24)
        }
        Kind::Mms => mms::begins(body).then_some(mms::EVIDENCE),
        Kind::ServiceIndication => {
            wbxml::evidence(body, service::INDICATION_PUBLIC_ID, service::INDICATION_NAME)
        }
        Kind::ServiceLoading => {
            wbxml::evidence(body, service::LOADING_PUBLIC_ID, service::LOADING_NAME)
        }
        // Some senders have a kind of their own.
        Kind::Provisioning => wbxml::evidence(body, provisioning::PUBLIC_ID, provisioning::NAME)
            .or_else(|| wbxml::evidence_of_any(body)),
        Kind::WvCir => cir::begins(body).then_some(24),
        Kind::Wbxml => wbxml::evidence_of_any(body),
        // Text behind a few bytes is found everywhere: it takes a header as well.
        Kind::Text => is_text(body).then(|| body.len().min(8) as u32),
    };
    match bits {
        Some(bits) => (Agreement::Agrees, bits),
        // Of a body that was cut this short, nothing is known.
        None if is_beginning(kind, body) => (Agreement::Unknown, 0),
        None => (Agreement::Disagrees, 0),
    }
}

/// Whether the few bytes of a body may be the beginning of one that agrees.
fn is_beginning(kind: Kind, body: &[u8]) -> bool {
    match kind {
        Kind::Mms => matches!(body, [0x8c] | [0x8c, 0x80..=0x97]),
        Kind::ServiceIndication | Kind::ServiceLoading | Kind::Provisioning | Kind::Wbxml => {
            matches!(body, [1..=3] | [1..=3, _] | [1..=3, _, _])
        }
        Kind::WvCir => body.len() < 5 && b"WVCI ".starts_with(body),
        Kind::Text | Kind::Other => false,
    }
}

fn is_xml(body: &[u8]) -> bool {
    const STARTS: [&[u8]; 5] = [b"<?xml", b"<!DOCTYPE", b"<si>", b"<sl ", b"<wap-provisioningdoc"];
    let text = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    STARTS.into_iter().any(|start| text.starts_with(start))
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
