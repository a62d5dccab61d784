//! Whether the message that a payload begins goes on behind it.

use crate::{Verdict, reader::contains};

/// Whether the message that a payload of this verdict begins goes on behind its last byte, and has
/// details or a more specific verdict there: a head of HTTP and its like without the empty line that
/// ends it, or a handshake of TLS that is longer.
pub fn is_unfinished(verdict: Verdict, bytes: &[u8]) -> bool {
    match verdict {
        Verdict::Http | Verdict::Websocket | Verdict::Sip | Verdict::Rtsp => {
            !(contains(bytes, b"\r\n\r\n") || contains(bytes, b"\n\n"))
        }
        Verdict::Tls => handshake_len(bytes).is_some_and(|len| len > bytes.len()),
        _ => false,
    }
}

/// Bytes of a handshake message in its first record, RFC 8446 §5.1, with the headers of both.
fn handshake_len(bytes: &[u8]) -> Option<usize> {
    const RECORD_HEADER: usize = 5;
    const HANDSHAKE_HEADER: usize = 4;
    let [22, 3, _, high, low, rest @ ..] = bytes else { return None };
    let record = RECORD_HEADER + usize::from(u16::from_be_bytes([*high, *low]));
    let message = match rest {
        [_, a, b, c, ..] => {
            RECORD_HEADER + HANDSHAKE_HEADER + u32::from_be_bytes([0, *a, *b, *c]) as usize
        }
        _ => RECORD_HEADER + HANDSHAKE_HEADER,
    };
    Some(record.max(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_with_an_empty_line() {
        assert!(is_unfinished(Verdict::Http, b"GET / HTTP/1.1\r\nHost: x\r\n"));
        assert!(!is_unfinished(Verdict::Http, b"GET / HTTP/1.1\r\nHost: x\r\n\r\nbody"));
        assert!(!is_unfinished(Verdict::Http, b"GET / HTTP/1.0\n\n"));
        assert!(!is_unfinished(Verdict::Ssh, b"SSH-2.0-x\r\n"));
    }

    #[test]
    fn a_handshake_ends_where_its_lengths_say() {
        let mut hello = vec![22, 3, 1, 0, 24, 1, 0, 0, 20];
        assert!(is_unfinished(Verdict::Tls, &hello[..5]));
        assert!(is_unfinished(Verdict::Tls, &hello));
        hello.resize(28, 0);
        assert!(is_unfinished(Verdict::Tls, &hello));
        hello.push(0);
        assert!(!is_unfinished(Verdict::Tls, &hello));
        let data = [23, 3, 3, 1, 0];
        assert!(!is_unfinished(Verdict::Tls, &data));
    }
}
