//! The routes that every client may read: `/metrics`, `/healthz`, `/readyz` and the runbook.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State as AxumState,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use futures_util::{StreamExt as _, stream};
use tokio::{sync::Semaphore, task::spawn_blocking};

use super::{runbook, security::Security, source::SharedSource, table};
use crate::metrics::{Exposition, ExpositionFormat};

/// Size from which an exposition counts as large: that of tens of thousands of ports. Only so many
/// are in flight at once, because a slow client keeps one in memory.
const LARGE: usize = 4 << 20;
pub(super) const MAX_LARGE: usize = 2;

/// Asks how long the pipeline is stuck.
pub type Stalled = Arc<dyn Fn() -> Option<Duration> + Send + Sync>;

/// What the routes answer from.
#[derive(Clone)]
pub struct State {
    /// Makes the exposition.
    pub exposition: Exposition,
    /// Whether every hook has been tried.
    pub ready: Arc<AtomicBool>,
    /// Whether hooks were detached behind the agent and are not attached again.
    pub hooks_lost: Arc<AtomicBool>,
    /// How long events have waited behind one that is stuck; `None` if none is.
    pub stalled: Stalled,
    /// TLS and authentication of clients over TCP; `None` for neither.
    pub security: Option<Arc<Security>>,
    /// The details, which not every client may read.
    pub source: SharedSource,
}

impl State {
    fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }
}

/// What the handlers share.
#[derive(Clone)]
struct Routes {
    state: State,
    /// Serializes the making of expositions: one of thousands of ports takes memory.
    scrape: Arc<Semaphore>,
    /// Permits for large answers in flight.
    large: Arc<Semaphore>,
}

/// The routes.
pub(super) fn router(state: State) -> Router {
    let routes = Routes {
        state,
        scrape: Arc::new(Semaphore::new(1)),
        large: Arc::new(Semaphore::new(MAX_LARGE)),
    };
    Router::new()
        .route(table::METRICS.path, get(metrics))
        .route(table::HEALTHZ.path, get(async || "ok\n"))
        .route(table::READYZ.path, get(readyz))
        .route(table::RUNBOOK.path, get(runbook::index))
        .route(table::RUNBOOK_SECTION.path, get(runbook::section))
        .with_state(routes)
}

async fn metrics(AxumState(routes): AxumState<Routes>, headers: HeaderMap) -> Response {
    // Before the hooks are attached series are missing, and `increase()` misses the first value of a
    // series that appears later.
    if !routes.state.is_ready() {
        return not_ready();
    }
    let Ok(turn) = routes.scrape.acquire_owned().await else {
        return failure("the agent is stopping");
    };
    let format = wanted_format(&headers);
    // The permit moves along: when the client goes away the work goes on, and so must the turn.
    let make = routes.state.exposition;
    let exposition = spawn_blocking(move || {
        let exposition = make(format);
        drop(turn);
        exposition
    });
    match exposition.await {
        Ok(Ok(text)) => respond(text, format, &routes.large),
        Ok(Err(error)) => failure(&format!("{error:#}")),
        Err(error) => failure(&error.to_string()),
    }
}

/// The format that the client's `Accept` prefers; a header of several lines is one list.
fn wanted_format(headers: &HeaderMap) -> ExpositionFormat {
    let lines = headers.get_all(header::ACCEPT).into_iter().filter_map(|line| line.to_str().ok());
    ExpositionFormat::from_accept(&lines.collect::<Vec<_>>().join(","))
}

/// The response with the exposition. A large one holds a permit until it is sent.
fn respond(pieces: Vec<String>, format: ExpositionFormat, large: &Arc<Semaphore>) -> Response {
    let length: usize = pieces.iter().map(String::len).sum();
    let body = if length < LARGE {
        Body::from(pieces.concat())
    } else {
        let Ok(permit) = Arc::clone(large).try_acquire_owned() else {
            let why = "others read as much and take their time: ask again\n";
            return (StatusCode::SERVICE_UNAVAILABLE, why).into_response();
        };
        // Each piece is freed when it is sent, and the permit released with the last one.
        Body::from_stream(stream::iter(pieces).map(move |piece| {
            let _ = &permit;
            Ok::<_, std::io::Error>(Bytes::from(piece))
        }))
    };
    let headers = [
        (header::CONTENT_TYPE, format.content_type().to_owned()),
        (header::VARY, header::ACCEPT.to_string()),
        (header::CONTENT_LENGTH, length.to_string()),
    ];
    (headers, body).into_response()
}

fn failure(why: &str) -> Response {
    tracing::error!(why, "the metrics cannot be read");
    (StatusCode::INTERNAL_SERVER_ERROR, format!("the metrics cannot be read: {why}\n"))
        .into_response()
}

async fn readyz(AxumState(routes): AxumState<Routes>) -> Response {
    if !routes.state.is_ready() {
        return not_ready();
    }
    if routes.state.hooks_lost.load(Ordering::Relaxed) {
        let why = "not ready: something detached hooks of the agent, which attaches them again\n";
        return (StatusCode::SERVICE_UNAVAILABLE, why).into_response();
    }
    if let Some(stalled) = (routes.state.stalled)() {
        let seconds = stalled.as_secs();
        let why = format!("not ready: events wait behind one that is stuck for {seconds} s\n");
        return (StatusCode::SERVICE_UNAVAILABLE, why).into_response();
    }
    "ready\n".into_response()
}

fn not_ready() -> Response {
    let why = "not ready: hooks are being attached or taken down\n";
    (StatusCode::SERVICE_UNAVAILABLE, why).into_response()
}
