//! Decides which requests may read details: addresses, processes and command lines, which `/metrics`
//! never contains. No I/O.
//!
//! A page in a browser on this host can reach a loopback listener, and by DNS rebinding it can make
//! the browser take the listener for the page's own server. Such a request has the page's host in
//! its `Host` header, so that has to be a loopback name. A proxy on this host makes a loopback client
//! of every client it has; most add a header that says so, and none of those may be there.

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderName, Uri, header};

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

/// Whether a request may read details.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It may.
    Granted,
    /// It may if the process that sent it is an administrator's.
    ToAdministrators,
    /// It may not. The reason is a message for its sender.
    Refused(&'static str),
}

/// Why the process that sent a request is not taken for an administrator's.
pub const NO_ADMINISTRATOR: &str = "web.details is admins, and this process is neither root's nor of \
     the agent's group: ask as one of them, or authenticate";

/// Headers by which a proxy says for which client it asks, besides those that begin with
/// `X-Forwarded-`.
const FORWARDING: [HeaderName; 8] = [
    header::FORWARDED,
    header::VIA,
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("x-client-ip"),
    HeaderName::from_static("x-cluster-client-ip"),
    HeaderName::from_static("x-original-forwarded-for"),
    HeaderName::from_static("x-envoy-external-address"),
    HeaderName::from_static("true-client-ip"),
];

/// Whether a request may read details.
pub fn admission(
    details: WebDetails,
    endpoint: Endpoint,
    sender: Authenticated,
    uri: &Uri,
    headers: &HeaderMap,
) -> Admission {
    let refused = Admission::Refused;
    match (endpoint, details) {
        (Endpoint::Unix, _) => Admission::Granted,
        (_, WebDetails::Never) => refused("web.details is never: ask over the Unix socket"),
        _ if sender.0 => Admission::Granted,
        (_, WebDetails::Authenticated) => refused(
            "web.details asks for authentication: set it up with web.config_file, or ask over the \
             Unix socket",
        ),
        (Endpoint::Network, WebDetails::Admins | WebDetails::Loopback) => {
            refused("details are available over a loopback listener or the Unix socket only")
        }
        _ if is_forwarded(headers) => refused(
            "the request was forwarded by a proxy: ask without one, or authenticate \
             (web.config_file)",
        ),
        _ if !names_loopback(uri, headers) => {
            refused("the Host of the request, or the Origin of its page, is no loopback address")
        }
        (Endpoint::Loopback, WebDetails::Admins) => Admission::ToAdministrators,
        (Endpoint::Loopback, WebDetails::Loopback) => Admission::Granted,
    }
}

/// Whether a proxy has left a mark.
fn is_forwarded(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| name.as_str().starts_with("x-forwarded") || FORWARDING.contains(name))
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

    fn asked(details: WebDetails, endpoint: Endpoint, hosts: &[&str]) -> Admission {
        admission(details, endpoint, ANONYMOUS, &Uri::from_static("/"), &headers(hosts, None))
    }

    fn is_allowed(details: WebDetails, endpoint: Endpoint, hosts: &[&str]) -> bool {
        asked(details, endpoint, hosts) == Admission::Granted
    }

    const ANONYMOUS: Authenticated = Authenticated(false);

    #[test]
    fn authenticated_senders_are_allowed_unless_details_are_never() {
        let allowed = |details, endpoint| {
            let headers = headers(&["web1.example.org"], None);
            let uri = Uri::from_static("/");
            let admission = admission(details, endpoint, Authenticated(true), &uri, &headers);
            admission == Admission::Granted
        };
        for endpoint in [Endpoint::Loopback, Endpoint::Network] {
            for details in WebDetails::ALL {
                assert_eq!(allowed(details, endpoint), details != WebDetails::Never);
            }
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
            admission(WebDetails::Loopback, Endpoint::Loopback, ANONYMOUS, &uri, &host)
                == Admission::Granted
        };
        assert!(allowed("http://localhost:10948/api/v1/ports"));
        assert!(!allowed("http://evil.example/api/v1/ports"));
    }

    #[test]
    fn a_page_of_another_origin_is_refused() {
        let allowed = |origin| {
            let headers = headers(&["localhost:10948"], Some(origin));
            let uri = Uri::from_static("/");
            admission(WebDetails::Loopback, Endpoint::Loopback, ANONYMOUS, &uri, &headers)
                == Admission::Granted
        };
        assert!(allowed("http://localhost:10948"));
        assert!(allowed("http://[::1]:10948"));
        assert!(!allowed("http://evil.example"));
        assert!(!allowed("null"));
    }

    #[test]
    fn admins_are_asked_for_on_loopback_alone() {
        let asked = |endpoint, host: &str| asked(WebDetails::Admins, endpoint, &[host]);
        assert_eq!(asked(Endpoint::Loopback, "localhost"), Admission::ToAdministrators);
        assert!(matches!(asked(Endpoint::Loopback, "evil.example"), Admission::Refused(_)));
        assert!(matches!(asked(Endpoint::Network, "localhost"), Admission::Refused(_)));
        assert_eq!(asked(Endpoint::Unix, "agent"), Admission::Granted);
    }

    #[test]
    fn forwarded_requests_are_refused() {
        let asked = |details, endpoint, sender, name: &'static str| {
            let mut headers = headers(&["localhost"], None);
            headers.insert(name, HeaderValue::from_static(""));
            admission(details, endpoint, Authenticated(sender), &Uri::from_static("/"), &headers)
        };
        for name in [
            "x-forwarded-for",
            "x-forwarded-proto",
            "x-forwarded-anything",
            "x-forwarded",
            "forwarded",
            "via",
            "x-real-ip",
            "true-client-ip",
        ] {
            for details in [WebDetails::Admins, WebDetails::Loopback] {
                let refused = asked(details, Endpoint::Loopback, false, name);
                assert!(matches!(refused, Admission::Refused(why) if why.contains("proxy")));
                assert_eq!(asked(details, Endpoint::Loopback, true, name), Admission::Granted);
                assert_eq!(asked(details, Endpoint::Unix, false, name), Admission::Granted);
            }
        }
        let plain = asked(WebDetails::Loopback, Endpoint::Loopback, false, "x-requested-with");
        assert_eq!(plain, Admission::Granted);
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
