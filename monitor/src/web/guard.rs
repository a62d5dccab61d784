//! Decides which requests may read details: addresses, processes and command lines, which `/metrics`
//! never contains. No I/O.
//!
//! A page in a browser on this host can reach a loopback listener, and by DNS rebinding it can make
//! the browser take the listener for the page's own server. Such a request has the page's host in
//! its `Host` header, so that has to be a loopback name.

use std::net::IpAddr;

use axum::http::{HeaderMap, Uri, header};

use crate::config::WebDetails;

/// What kind of listener a request arrived on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// The Unix socket, which has permissions of its own.
    Unix,
    /// A listener on a loopback address.
    Loopback,
    /// A listener that others can reach.
    Network,
}

/// Whether the sender of a request is authenticated, by a password or a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authenticated(pub bool);

/// Why a request may not read details, as a message for its sender; `None` if it may.
pub fn refusal(
    details: WebDetails,
    endpoint: Endpoint,
    sender: Authenticated,
    uri: &Uri,
    headers: &HeaderMap,
) -> Option<&'static str> {
    match (endpoint, details) {
        (Endpoint::Unix, _) => None,
        (_, WebDetails::Never) => Some("web.details is never: ask over the Unix socket"),
        _ if sender.0 => None,
        (_, WebDetails::Authenticated) => Some(
            "web.details asks for authentication: set it up with web.config_file, or ask over the \
             Unix socket",
        ),
        (Endpoint::Network, WebDetails::Loopback) => {
            Some("details are available over a loopback listener or the Unix socket only")
        }
        (Endpoint::Loopback, WebDetails::Loopback) if !names_loopback(uri, headers) => {
            Some("the Host of the request, or the Origin of its page, is no loopback address")
        }
        (Endpoint::Loopback, WebDetails::Loopback) => None,
    }
}

/// Whether every host that the request names is a loopback one: that of its only `Host` header, of
/// the request line, and of each `Origin`.
fn names_loopback(uri: &Uri, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let origins = headers.get_all(header::ORIGIN).iter();
    let origin_is_loopback = |origin: &str| {
        origin.split_once("://").is_some_and(|(_, authority)| is_loopback(authority))
    };
    host.to_str().is_ok_and(is_loopback)
        && uri.authority().is_none_or(|authority| is_loopback(authority.as_str()))
        && origins.map(|origin| origin.to_str()).all(|o| o.is_ok_and(origin_is_loopback))
}

/// Whether `authority`, a host with or without a port, is `localhost` or a loopback address.
fn is_loopback(authority: &str) -> bool {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, port)) => (host, port),
            None => return false,
        },
        None => authority.find(':').map_or((authority, ""), |colon| authority.split_at(colon)),
    };
    let port_is_fine =
        port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    let is_bracketed = authority.starts_with('[');
    let names_loopback = match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => !is_bracketed && address.is_loopback(),
        Ok(IpAddr::V6(address)) => is_bracketed && address.is_loopback(),
        Err(_) => !is_bracketed && host.eq_ignore_ascii_case("localhost"),
    };
    port_is_fine && names_loopback
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(hosts: &[&str], origin: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(header::HOST, HeaderValue::from_str(host).expect("a header"));
        }
        if let Some(origin) = origin {
            headers.append(header::ORIGIN, HeaderValue::from_str(origin).expect("a header"));
        }
        headers
    }

    fn is_allowed(details: WebDetails, endpoint: Endpoint, hosts: &[&str]) -> bool {
        refusal(details, endpoint, ANONYMOUS, &Uri::from_static("/"), &headers(hosts, None))
            .is_none()
    }

    const ANONYMOUS: Authenticated = Authenticated(false);

    #[test]
    fn authenticated_senders_are_allowed_unless_details_are_never() {
        let allowed = |details, endpoint| {
            let headers = headers(&["web1.example.org"], None);
            let uri = Uri::from_static("/");
            refusal(details, endpoint, Authenticated(true), &uri, &headers).is_none()
        };
        for endpoint in [Endpoint::Loopback, Endpoint::Network] {
            assert!(
                allowed(WebDetails::Loopback, endpoint)
                    && allowed(WebDetails::Authenticated, endpoint)
            );
            assert!(!allowed(WebDetails::Never, endpoint));
        }
    }

    #[test]
    fn the_unix_socket_is_always_allowed() {
        for details in WebDetails::ALL {
            assert!(is_allowed(details, Endpoint::Unix, &["anything"]));
        }
    }

    #[test]
    fn a_loopback_listener_requires_a_loopback_host() {
        let allowed = |hosts: &[&str]| is_allowed(WebDetails::Loopback, Endpoint::Loopback, hosts);
        for host in [
            "localhost",
            "LOCALHOST:10948",
            "127.0.0.1",
            "127.0.0.1:10948",
            "127.8.9.1:1",
            "[::1]",
            "[::1]:10948",
        ] {
            assert!(allowed(&[host]), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:10948",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "127.0.0.1:10948.evil.example",
            "localhost:",
            "localhost:99999",
            "::1",
            "[127.0.0.1]",
            "[::1",
            "[::1]x",
            "10.0.0.1",
            "0.0.0.0",
            "user@localhost",
        ] {
            assert!(!allowed(&[host]), "{host}");
        }
        assert!(!allowed(&[]), "no host at all");
        assert!(!allowed(&["localhost", "evil.example"]), "two");
    }

    #[test]
    fn the_host_in_the_request_line_is_checked() {
        let host = headers(&["localhost"], None);
        let allowed = |uri| {
            let uri = Uri::from_static(uri);
            refusal(WebDetails::Loopback, Endpoint::Loopback, ANONYMOUS, &uri, &host).is_none()
        };
        assert!(allowed("http://localhost:10948/api/v1/ports"));
        assert!(!allowed("http://evil.example/api/v1/ports"));
    }

    #[test]
    fn a_page_of_another_origin_is_refused() {
        let allowed = |origin| {
            let headers = headers(&["localhost:10948"], Some(origin));
            let uri = Uri::from_static("/");
            refusal(WebDetails::Loopback, Endpoint::Loopback, ANONYMOUS, &uri, &headers).is_none()
        };
        assert!(allowed("http://localhost:10948"));
        assert!(allowed("http://[::1]:10948"));
        assert!(!allowed("http://evil.example"));
        assert!(!allowed("null"));
    }

    #[test]
    fn other_requests_are_refused() {
        assert!(!is_allowed(WebDetails::Loopback, Endpoint::Network, &["127.0.0.1"]));
        for endpoint in [Endpoint::Loopback, Endpoint::Network] {
            assert!(!is_allowed(WebDetails::Never, endpoint, &["127.0.0.1"]));
            assert!(!is_allowed(WebDetails::Authenticated, endpoint, &["127.0.0.1"]));
        }
    }
}
