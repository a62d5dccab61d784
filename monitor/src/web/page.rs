//! The live page: one self-contained document that reads the API.

use axum::response::Response;

use super::nonce::{Allowed, document};

/// The document. Its content security policy allows its own script alone: names of programs, which
/// it shows, may be hostile.
const PAGE: &str = include_str!("page.html");

/// The page.
pub(super) async fn page() -> Response {
    document(PAGE, Allowed::Script)
}

#[cfg(test)]
mod tests {
    use super::*;

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
