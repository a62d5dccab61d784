//! Events as a JSON array, posted to an HTTP server.

use std::sync::Arc;

use super::{http::Post, remote::Format, told::Told};
use crate::config::HttpUrl;

/// One array of events a request.
#[derive(Debug)]
pub(super) struct Webhook(pub(super) HttpUrl);

impl Format for Webhook {
    fn post(&self, events: &[Arc<Told>]) -> Post {
        let json: Vec<&[u8]> = events.iter().map(|told| told.json()).collect();
        let body = [b"[".as_slice(), &json.join(b",".as_slice()), b"]"].concat();
        Post { uri: self.0.uri().clone(), content_type: "application/json", body: body.into() }
    }
}
