//! Events posted to an HTTP server: as a JSON array, or as a template makes the body.

use std::sync::Arc;

use super::{http::Post, remote, remote::Format, sentence::sentence};
use crate::{
    config::{HttpUrl, Template, TemplateEvent},
    event::EncodedEvent,
};

/// The type of every body, unless a header of the operator's says another.
const JSON: &str = "application/json";

/// Requests with one or several events.
#[derive(Debug)]
pub(super) struct Webhook {
    pub(super) url: HttpUrl,
    pub(super) template: Option<Template>,
}

impl Format for Webhook {
    fn post(&self, events: &[Arc<EncodedEvent>]) -> Result<Post, String> {
        let body = match &self.template {
            Some(template) => {
                let events: Vec<TemplateEvent> = events.iter().map(|e| template_event(e)).collect();
                template.render(&events)?
            }
            None => {
                let objects: Vec<&str> = events.iter().map(|encoded| encoded.line.json()).collect();
                format!("[{}]", objects.join(","))
            }
        };
        Ok(Post { uri: self.url.uri().clone(), content_type: JSON, body: body.into() })
    }

    fn batch(&self) -> usize {
        let is_of_each = self.template.as_ref().is_some_and(Template::is_of_each);
        if is_of_each { 1 } else { remote::BATCH }
    }
}

fn template_event(encoded: &EncodedEvent) -> TemplateEvent {
    TemplateEvent {
        // The agent has encoded it itself.
        fields: serde_json::from_str(encoded.line.json()).unwrap_or_default(),
        text: sentence(&encoded.event),
    }
}
