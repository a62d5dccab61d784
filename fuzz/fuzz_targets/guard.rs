//! The guard of details: over a loopback listener no request passes whose host is not loopback.

#![no_main]

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderValue, Uri, header};
use ghostport::{
    config::WebDetails,
    web::guard::{Admission, Authenticated, Endpoint, admission},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mut lines = input.split(|byte| *byte == b'\n');
    let Some(uri) = lines.next().and_then(|line| Uri::try_from(line).ok()) else { return };
    let mut headers = HeaderMap::new();
    for line in lines.take(4) {
        let (name, value) = match line.split_first() {
            Some((b'o', value)) => (header::ORIGIN, value),
            Some((b'f', value)) => (header::FORWARDED, value),
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
    let asked = |details, endpoint, sender| {
        admission(details, endpoint, Authenticated(sender), uri, headers)
    };
    for details in WebDetails::ALL {
        let granted = asked(details, Endpoint::Unix, false);
        assert_eq!(granted, Admission::Granted, "the Unix socket has permissions");
        let stranger = asked(details, Endpoint::Network, false);
        assert!(matches!(stranger, Admission::Refused(_)), "a stranger reads no details");
    }
    let never = asked(WebDetails::Never, Endpoint::Loopback, true);
    assert!(matches!(never, Admission::Refused(_)), "never is never");
    let admins = asked(WebDetails::Admins, Endpoint::Loopback, false);
    assert_ne!(admins, Admission::Granted, "a process has to be an administrator's");
    let local = asked(WebDetails::Loopback, Endpoint::Loopback, false);
    let passes = local == Admission::Granted;
    assert_eq!(passes, admins == Admission::ToAdministrators, "one rule for what is loopback");
    if passes {
        let hosts: Vec<_> = headers.get_all(header::HOST).iter().collect();
        assert_eq!(hosts.len(), 1, "one Host");
        let host = hosts[0].to_str().expect("a host that passes is text");
        assert!(is_loopback(host), "{host:?} passes");
        assert!(!headers.contains_key(header::FORWARDED), "no proxy in between");
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
