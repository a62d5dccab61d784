//! Events as a JSON array, posted to an HTTP server.

use std::sync::Arc;

use super::{http::Post, remote::Format};
use crate::{config::HttpUrl, event::EncodedEvent};

/// One array of events a request.
#[derive(Debug)]
pub(super) struct Webhook(pub(super) HttpUrl);

impl Format for Webhook {
    fn post(&self, events: &[Arc<EncodedEvent>]) -> Post {
        let objects: Vec<&str> = events.iter().map(|encoded| encoded.line.json()).collect();
        let body = format!("[{}]", objects.join(","));
        Post { uri: self.0.uri().clone(), content_type: "application/json", body: body.into() }
    }
}
