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
        [5, count, ref methods @ ..] => socks5(count, methods),
        [4, command @ (1 | 2), ref rest @ ..] => socks4(command, rest),
        _ => None,
    }
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
