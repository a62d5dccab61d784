//! The live page: one self-contained document that reads the API; and the page that a client gets
//! instead which may not read the API.

use axum::{http::StatusCode, response::Response};

use super::nonce::{Allowed, document};

/// The document. Its content security policy allows its own script alone: names of programs, which
/// it shows, may be hostile.
const PAGE: &str = include_str!("page.html");

/// The page.
pub(super) async fn page() -> Response {
    document(PAGE, Allowed::Script)
}

/// The document for a client that may not read details, with the reason in the place of `REASON`.
const LANDING: &str = include_str!("landing.html");

/// The page without details.
pub(super) fn landing(why: &str) -> Response {
    let mut response = document(&LANDING.replace("REASON", why), Allowed::Text);
    if response.status() == StatusCode::OK {
        *response.status_mut() = StatusCode::FORBIDDEN;
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_landing_page_has_a_place_for_the_reason() {
        assert_eq!(LANDING.matches("REASON").count(), 1);
        assert_eq!(LANDING.matches("NONCE").count(), 1, "one style");
        assert!(!LANDING.contains("<script"));
    }

    #[test]
    fn has_one_style_and_one_script() {
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
