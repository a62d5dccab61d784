//! Documents of HTML with a content security policy, which allows only what has a nonce.

use axum::{
    http::{StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use rustix::rand::{GetRandomFlags, getrandom};

/// What a document may do besides having a style.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Allowed {
    /// Nothing.
    Text,
    /// It has a script, which asks this server.
    Script,
}

/// The document, in which `NONCE` is replaced by a new nonce for each request. Text that others have
/// chosen, such as names of programs, may be in it: nothing without the nonce is styled or run.
pub(super) fn document(html: &str, allowed: Allowed) -> Response {
    let mut random = [0; 16];
    match getrandom(&mut random, GetRandomFlags::NONBLOCK) {
        Ok(length) if length == random.len() => {
            document_with(html, allowed, u128::from_ne_bytes(random))
        }
        _ => (StatusCode::SERVICE_UNAVAILABLE, "this host has no random numbers yet\n")
            .into_response(),
    }
}

fn document_with(html: &str, allowed: Allowed, nonce: u128) -> Response {
    let nonce = format!("{nonce:032x}");
    let script = match allowed {
        Allowed::Text => String::new(),
        Allowed::Script => {
            format!(
                " script-src 'nonce-{nonce}'; connect-src 'self'; img-src data:; \
                 require-trusted-types-for 'script'; trusted-types 'none';"
            )
        }
    };
    let policy = format!(
        "default-src 'none';{script} style-src 'nonce-{nonce}'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'"
    );
    let headers = [
        (header::CONTENT_SECURITY_POLICY, policy.as_str()),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, Html(html.replace("NONCE", &nonce))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(allowed: Allowed) -> String {
        let response = document_with("", allowed, 7);
        let policy = &response.headers()[header::CONTENT_SECURITY_POLICY];
        policy.to_str().expect("text").to_owned()
    }

    #[test]
    fn policies_allow_only_the_nonce() {
        let nonce = "'nonce-00000000000000000000000000000007';";
        let page = policy(Allowed::Script);
        assert!(page.contains(&format!("script-src {nonce}")), "{page}");
        let text = policy(Allowed::Text);
        assert!(text.contains(&format!("style-src {nonce}")), "{text}");
        assert!(!text.contains("script-src") && text.starts_with("default-src 'none';"), "{text}");
    }
}
