//! Addresses to listen on, in the forms that exporters take.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// What [`parse`] takes.
pub const EXPECTED: &str = "an address and a port, as 127.0.0.1:10948, [::1]:10948 or :10948";

/// Parses `ADDRESS:PORT`, `localhost:PORT`, or `:PORT` for every address of this host.
pub fn parse(text: &str) -> Result<SocketAddr, String> {
    let address = match text.rsplit_once(':') {
        Some(("", port)) => port.parse().ok().map(|port| (Ipv6Addr::UNSPECIFIED, port).into()),
        Some(("localhost", port)) => {
            port.parse().ok().map(|port| (Ipv4Addr::LOCALHOST, port).into())
        }
        _ => text.parse().ok(),
    };
    address.ok_or_else(|| format!("expected {EXPECTED}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_forms_are_taken() {
        let cases = [
            ("127.0.0.1:10948", "127.0.0.1:10948"),
            ("[::1]:1", "[::1]:1"),
            (":9100", "[::]:9100"),
            ("localhost:9100", "127.0.0.1:9100"),
        ];
        for (text, address) in cases {
            assert_eq!(parse(text).map(|address| address.to_string()), Ok(address.to_owned()));
        }
        for text in ["", ":", "10948", "127.0.0.1", "example.org:80", ":65536"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
