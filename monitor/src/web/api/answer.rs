//! What the routes have in common: their state, answers as JSON, and errors as JSON.

use std::sync::Arc;

use anyhow::Result;
use axum::{
    Json,
    extract::rejection::QueryRejection,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use tokio::{
    sync::{Semaphore, watch},
    task::spawn_blocking,
};

use crate::{
    store::ReadError,
    web::source::{SharedSource, Source},
};

/// Streams of events at once. Each occupies a connection for as long as its client wants: most
/// connections are left to other requests.
pub(in crate::web) const MAX_STREAMS: usize = 32;

/// What the handlers share.
#[derive(Clone)]
pub(super) struct Api {
    pub(super) source: SharedSource,
    /// Serializes the making of answers: one of thousands of ports takes memory.
    turn: Arc<Semaphore>,
    /// Permits for streams of events.
    pub(super) streams: Arc<Semaphore>,
    /// Closed when the agent stops.
    pub(super) stop: watch::Receiver<()>,
}

impl Api {
    pub(super) fn new(source: SharedSource, stop: watch::Receiver<()>) -> Self {
        let turn = Arc::new(Semaphore::new(1));
        Self { source, turn, streams: Arc::new(Semaphore::new(MAX_STREAMS)), stop }
    }

    /// Makes an answer on a blocking thread: the thread of the runtime has to drain the ring buffer.
    /// An answer of `None` is for a port that is not watched.
    pub(super) async fn answer<T: Serialize>(
        &self,
        make: impl FnOnce(&dyn Source) -> Result<Option<T>> + Send + 'static,
    ) -> Response {
        let Ok(turn) = Arc::clone(&self.turn).acquire_owned().await else {
            return problem(StatusCode::SERVICE_UNAVAILABLE, "the agent is stopping");
        };
        let source = Arc::clone(&self.source);
        // The permit moves along: when the client goes away the work goes on, and so must the turn.
        let made = spawn_blocking(move || {
            let made = make(&*source).and_then(|answer| {
                Ok(answer.map(|answer| serde_json::to_vec(&answer)).transpose()?)
            });
            drop(turn);
            made
        });
        match made.await.map_err(anyhow::Error::from).flatten() {
            Ok(Some(body)) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
            Ok(None) => problem(StatusCode::NOT_FOUND, "this port is not watched"),
            Err(error) if error.is::<ReadError>() => {
                problem(StatusCode::SERVICE_UNAVAILABLE, &format!("{error:#}"))
            }
            Err(error) => failure(&error),
        }
    }
}

/// What is wrong with a query, without the prefix of the library's message.
pub(super) fn query_error(rejection: &QueryRejection) -> String {
    let text = rejection.body_text();
    text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text).to_owned()
}

fn failure(error: &anyhow::Error) -> Response {
    tracing::error!("a request cannot be answered: {error:#}");
    problem(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error:#}"))
}

/// An error as JSON.
pub(super) fn problem(status: StatusCode, why: &str) -> Response {
    (status, Json(serde_json::json!({ "error": why }))).into_response()
}
