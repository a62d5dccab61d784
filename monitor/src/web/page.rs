//! The live page: one self-contained document that reads the API.

use axum::{
    http::{StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use rustix::rand::{GetRandomFlags, getrandom};

/// The document, in which `NONCE` is replaced by a new nonce for each request.
const PAGE: &str = include_str!("page.html");

/// The page. Its content security policy allows its own script alone: names of programs, which it
/// shows, may be hostile.
pub(super) async fn page() -> Response {
    let mut random = [0; 16];
    match getrandom(&mut random, GetRandomFlags::NONBLOCK) {
        Ok(length) if length == random.len() => page_with(u128::from_ne_bytes(random)),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "this host has no random numbers yet\n")
            .into_response(),
    }
}

fn page_with(nonce: u128) -> Response {
    let nonce = format!("{nonce:032x}");
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; \
         connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    );
    let headers = [
        (header::CONTENT_SECURITY_POLICY, policy.as_str()),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, Html(PAGE.replace("NONCE", &nonce))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policy_allows_only_the_nonce() {
        let response = page_with(7);
        let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().expect("text");
        assert!(
            policy.contains("script-src 'nonce-00000000000000000000000000000007';"),
            "{policy}"
        );
        assert_eq!(PAGE.matches("NONCE").count(), 2, "one style, one script");
        assert_eq!(PAGE.matches("<script").count(), 1);
    }

    #[test]
    fn loads_nothing_and_inserts_no_markup() {
        for forbidden in ["http:", "https:", "src=", "innerHTML", "insertAdjacentHTML", "onclick"] {
            assert!(!PAGE.contains(forbidden), "{forbidden}");
        }
    }
}
