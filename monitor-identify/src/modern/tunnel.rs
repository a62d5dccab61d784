//! Proxies: SOCKS.

use std::net::Ipv4Addr;

use monitor_common::flow::Protocol;

use crate::{Identification, Payload, Verdict, details::Details, reader::Reader};

/// RFC 1928 §3, and SOCKS 4 before it.
pub(crate) fn socks(payload: &Payload<'_>) -> Option<Identification> {
    if !payload.may_be(Protocol::Tcp) || payload.is_cut() {
        return None;
    }
    match *payload.bytes {
        [5, method] => choice(method, payload),
        [5, count, ref methods @ ..] => socks5(count, methods).or_else(|| request(count, methods)),
        [4, command @ (1 | 2), ref rest @ ..] => socks4(command, rest),
        [0, code @ 0x5a..=0x5d, _, _, _, _, _, _] => answer4(code),
        _ => None,
    }
}

/// The method that a server of SOCKS 5 chooses, RFC 1928 §3, or none.
fn choice(method: u8, payload: &Payload<'_>) -> Option<Identification> {
    const PORT: u16 = 1080;
    let name = match method {
        0 => "none",
        1 => "GSS-API",
        2 => "user and password",
        0xff => "no acceptable method",
        _ => return None,
    };
    let mut details = Details::default();
    details.set("version", 5);
    details.set("authentication", name);
    let reason = "two bytes, by which a server of SOCKS 5 chooses how clients prove themselves";
    let found = if payload.has_port(PORT) {
        Identification::consistent(Verdict::Socks, reason)
    } else {
        Identification::suspect(Verdict::Socks, reason)
    };
    Some(found.with(details))
}

/// A request of SOCKS 5 or the reply to it, RFC 1928 §4 and §6: an address of a kind that ends the
/// payload.
fn request(code: u8, rest: &[u8]) -> Option<Identification> {
    let mut reader = Reader::new(rest);
    let [0, kind] = reader.array()? else { return None };
    let target = match kind {
        1 => Ipv4Addr::from(reader.array::<4>()?).to_string(),
        3 => {
            let name = reader.block8().filter(|name| name.len() > 1)?;
            if !crate::reader::is_printable(name) {
                return None;
            }
            crate::details::shown(name)
        }
        4 => std::net::Ipv6Addr::from(reader.array::<16>()?).to_string(),
        _ => return None,
    };
    let port = reader.be16()?;
    if !reader.is_empty() || code > 8 {
        return None;
    }
    let mut details = Details::default();
    details.set("version", 5);
    // Commands and codes of replies share their numbers.
    details.set("code", code);
    details.set("target", target);
    details.set("target_port", port);
    let reason = "a request of SOCKS 5, or the reply to one: an address that ends the payload";
    Some(Identification::consistent(Verdict::Socks, reason).with(details))
}

/// The reply of SOCKS 4: eight bytes with a code.
fn answer4(code: u8) -> Option<Identification> {
    let mut details = Details::default();
    details.set("version", 4);
    details.set("granted", code == 0x5a);
    let reason = "eight bytes, with which a server of SOCKS 4 answers";
    Some(Identification::graded(Verdict::Socks, 14, reason)?.with(details))
}

fn socks5(count: u8, methods: &[u8]) -> Option<Identification> {
    const LAST_ASSIGNED: u8 = 9;
    let is_greeting = count > 0
        && methods.len() == usize::from(count)
        && methods.iter().all(|method| *method <= LAST_ASSIGNED || *method >= 0x80)
        && methods.iter().any(|method| *method <= 2);
    is_greeting.then(|| {
        let mut details = Details::default();
        details.set("version", 5);
        details.set("methods", count);
        let reason = "the greeting of SOCKS 5: as many methods as it says";
        Identification::consistent(Verdict::Socks, reason).with(details)
    })
}

fn socks4(command: u8, rest: &[u8]) -> Option<Identification> {
    let mut reader = Reader::new(rest);
    let port = reader.be16()?;
    let address: [u8; 4] = reader.array()?;
    let user = reader.text_to_nul()?;
    // SOCKS 4a sends a name in place of an address 0.0.0.x.
    let name = match address {
        [0, 0, 0, 1..=255] => Some(reader.text_to_nul()?),
        _ => None,
    };
    let is_text = |text: &[u8]| crate::reader::is_printable(text);
    if !reader.is_empty() || port == 0 || !is_text(user) || !name.is_none_or(is_text) {
        return None;
    }
    let mut details = Details::default();
    details.set("version", 4);
    details.set("command", if command == 1 { "connect" } else { "bind" });
    match name {
        Some(name) => details.set_text("target", name),
        None => details.set("target", Ipv4Addr::from(address).to_string()),
    }
    details.set("target_port", port);
    let reason = "a request of SOCKS 4 that ends where its text does";
    Some(Identification::consistent(Verdict::Socks, reason).with(details))
}
