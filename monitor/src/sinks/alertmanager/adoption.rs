//! The alerts of an earlier agent, which Alertmanager still has. Without them, a bind that goes on
//! would be resolved when the agent is restarted, and be notified a second time.

use std::time::{Duration, Instant};

use axum::http::Uri;
use tokio::time::timeout;

use super::{
    Alertmanager, Failure,
    alert::{Alert, REPORTER},
};
use crate::sinks::{http::Client, remote::is_passing};

/// Time limit of the question. New alerts wait for the answer.
const LIMIT: Duration = Duration::from_secs(2);

impl Alertmanager {
    /// Reads the alerts of an earlier agent, unless that was done.
    pub(super) async fn adopt(&mut self, client: &Client) -> Result<(), Failure> {
        if self.has_adopted {
            return Ok(());
        }
        let question = client.get(self.question());
        let answer = timeout(LIMIT, question).await.unwrap_or_else(|_| Err("no answer".into()))?;
        if is_passing(answer.status) {
            return Err(Failure::from(&answer));
        }
        self.has_adopted = true;
        match serde_json::from_slice::<Vec<Alert>>(&answer.body) {
            Ok(alerts) if answer.status.is_success() => {
                for alert in alerts {
                    self.active.adopt(alert, Instant::now());
                }
            }
            // It takes alerts and lists none, as some of those that speak its protocol.
            _ => tracing::debug!("alerts of an earlier agent are not listed: {}", answer.words()),
        }
        Ok(())
    }

    /// `GET /api/v2/alerts` with a filter by the labels that all alerts of this sink have.
    fn question(&self) -> Uri {
        let (reporter, agent) = REPORTER;
        let instance = self.active.labels().instance();
        let filter = |name: &str, value: &str| {
            format!("filter={}", encoded(&format!("{name}={}", serde_json::Value::from(value))))
        };
        let query = format!("{}&{}", filter(reporter, agent), filter("instance", instance));
        let path = self.uri.path();
        let mut parts = self.uri.clone().into_parts();
        // A path and an encoded query are valid together.
        parts.path_and_query = format!("{path}?{query}").parse().ok();
        Uri::from_parts(parts).unwrap_or_else(|_| self.uri.clone())
    }
}

/// RFC 3986, section 2.1: everything but letters and digits is encoded.
fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        _ if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_for_its_own_alerts() {
        let labels = [("instance".to_owned(), "web1:10948".to_owned())].into();
        let url = "http://127.0.0.1:9093/am/".parse().expect("a URL");
        assert_eq!(
            Alertmanager::new(&url, &labels, None).question(),
            "http://127.0.0.1:9093/am/api/v2/alerts?filter=reporter%3D%22agent%22\
             &filter=instance%3D%22web1%3A10948%22"
        );
    }
}
