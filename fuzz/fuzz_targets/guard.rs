//! The guard of details: over a loopback listener no request passes whose host is not loopback.

#![no_main]

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderValue, Uri, header};
use ghostport::{
    config::WebDetails,
    web::guard::{Authenticated, Endpoint, refusal},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mut lines = input.split(|byte| *byte == b'\n');
    let Some(uri) = lines.next().and_then(|line| Uri::try_from(line).ok()) else { return };
    let mut headers = HeaderMap::new();
    for line in lines.take(4) {
        let (name, value) = match line.split_first() {
            Some((b'o', value)) => (header::ORIGIN, value),
            Some((_, value)) => (header::HOST, value),
            None => continue,
        };
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(name, value);
        }
    }
    check(&uri, &headers);
});

fn check(uri: &Uri, headers: &HeaderMap) {
    let refused = |details, endpoint, sender| {
        refusal(details, endpoint, Authenticated(sender), uri, headers).is_some()
    };
    for details in [WebDetails::Loopback, WebDetails::Authenticated, WebDetails::Never] {
        assert!(!refused(details, Endpoint::Unix, false), "the Unix socket has permissions");
        assert!(refused(details, Endpoint::Network, false), "a stranger reads no details");
    }
    assert!(refused(WebDetails::Never, Endpoint::Loopback, true), "never is never");
    if !refused(WebDetails::Loopback, Endpoint::Loopback, false) {
        let hosts: Vec<_> = headers.get_all(header::HOST).iter().collect();
        assert_eq!(hosts.len(), 1, "one Host");
        let host = hosts[0].to_str().expect("a host that passes is text");
        assert!(is_loopback(host), "{host:?} passes");
    }
}

/// The same rule, written another way: a host and perhaps `:port` behind it.
fn is_loopback(host: &str) -> bool {
    let without_port = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit() || byte == b'+') => {
            name
        }
        _ => host,
    };
    let address = without_port.trim_start_matches('[').trim_end_matches(']');
    without_port.eq_ignore_ascii_case("localhost")
        || address.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}
