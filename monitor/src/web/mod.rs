//! The agent's HTTP server.
//!
//! | route | meaning |
//! | --- | --- |
//! | `GET /metrics` | text exposition 0.0.4, read from the kernel now |
//! | `GET /healthz` | 200: the agent answers |
//! | `GET /readyz` | 200 once every hook has been tried, 503 before |
//! | `GET /` | the live page: for those whom [`guard`] lets in |
//! | `GET /api/v1/…` | see [`api`]: for the same |
//!
//! Whoever reaches the listener may read the first three, unless [`security`] asks for a password or a
//! certificate. A connection has ten seconds for each request's head, and there are at most
//! [`MAX_CONNECTIONS`] at once: whoever holds them all keeps others waiting, and costs the host no
//! more. Those who follow events get a quarter of them at most.

pub mod api;
mod connection;
pub mod guard;
mod listener;
mod page;
mod security;
mod talkers;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    Extension, Router,
    body::{Body, Bytes},
    extract::{Request, State as AxumState},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use futures_util::{StreamExt as _, stream};
use tokio::{
    sync::{Semaphore, watch},
    task::{JoinSet, spawn_blocking},
};

use self::{
    api::SharedSource,
    connection::{Certified, ConnectionContext, accept},
    guard::{Authenticated, Endpoint},
};
pub use self::{
    listener::{BindError, Listener},
    security::{PreparedRules, Security, SecurityError},
};
use crate::metrics::Exposition;

/// Connections served at once.
const MAX_CONNECTIONS: usize = 128;

/// Answers of this size and more are of tens of thousands of ports, and so many of them may be on
/// their way at once: a client that takes its time must not make memory pile up.
const LARGE: usize = 4 << 20;
const MAX_LARGE: usize = 2;

/// Exactly what Prometheus 3 expects.
const EXPOSITION_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the routes answer from.
#[derive(Clone)]
pub struct State {
    /// The metrics.
    pub exposition: Exposition,
    /// Whether every hook has been tried.
    pub ready: Arc<AtomicBool>,
    /// What is asked of those who connect over TCP; `None` for nothing.
    pub security: Option<Arc<Security>>,
    /// What only some may read.
    pub source: SharedSource,
}

impl State {
    fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }
}

/// Listens on every address.
pub async fn bind(addresses: &[SocketAddr]) -> Result<Vec<Listener>, BindError> {
    let mut listeners = Vec::with_capacity(addresses.len());
    for address in addresses {
        listeners.push(Listener::on_address(*address).await?);
    }
    Ok(listeners)
}

/// Serves until `stop` is closed.
pub async fn serve(listeners: Vec<Listener>, state: State, stop: watch::Receiver<()>) {
    let security = state.security.clone();
    let api = api::router(Arc::clone(&state.source), stop.clone());
    let routes = Routes {
        state,
        scrape: Arc::new(Semaphore::new(1)),
        large: Arc::new(Semaphore::new(MAX_LARGE)),
    };
    let router = router(routes).merge(api);
    let router =
        router.fallback(async || (StatusCode::NOT_FOUND, "there is nothing here: see /\n"));
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut acceptors = JoinSet::new();
    for listener in listeners {
        // Who comes in by the Unix socket has shown by its permissions who it is.
        let security = security.clone().filter(|_| listener.endpoint() != Endpoint::Unix);
        let ask = middleware::from_fn_with_state(security.clone(), authenticate);
        let router = router.clone().layer(ask).layer(Extension(listener.endpoint()));
        let context =
            ConnectionContext { router, security, slots: Arc::clone(&slots), stop: stop.clone() };
        acceptors.spawn(accept(listener, context));
    }
    acceptors.join_all().await;
}

/// What the handlers share.
#[derive(Clone)]
struct Routes {
    state: State,
    /// One exposition is made at a time: of thousands of ports it takes memory.
    scrape: Arc<Semaphore>,
    /// Places for large answers on their way.
    large: Arc<Semaphore>,
}

fn router(routes: Routes) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .with_state(routes)
}

async fn metrics(AxumState(routes): AxumState<Routes>) -> Response {
    // A counter whose interface has not been met yet would be born at what it says.
    if !routes.state.is_ready() {
        return not_ready();
    }
    let Ok(turn) = routes.scrape.acquire_owned().await else {
        return failure("the agent is stopping");
    };
    // Thousands of ports take a while to sum up. The turn goes along: it must not end before the
    // work does, when the client has gone away.
    let make = routes.state.exposition;
    let exposition = spawn_blocking(move || {
        let exposition = make();
        drop(turn);
        exposition
    });
    match exposition.await {
        Ok(Ok(text)) => sent(text, &routes.large),
        Ok(Err(error)) => failure(&format!("{error:#}")),
        Err(error) => failure(&error.to_string()),
    }
}

/// The exposition on its way; a large one keeps its place until it is sent.
fn sent(pieces: Vec<String>, large: &Arc<Semaphore>) -> Response {
    let length: usize = pieces.iter().map(String::len).sum();
    let body = if length < LARGE {
        Body::from(pieces.concat())
    } else {
        let Ok(place) = Arc::clone(large).try_acquire_owned() else {
            let why = "others read as much and take their time: ask again\n";
            return (StatusCode::SERVICE_UNAVAILABLE, why).into_response();
        };
        // Each piece is let go when it is sent, and the place with the last one.
        Body::from_stream(stream::iter(pieces).map(move |piece| {
            let _ = &place;
            Ok::<_, std::io::Error>(Bytes::from(piece))
        }))
    };
    let headers = [
        (header::CONTENT_TYPE, EXPOSITION_TYPE.to_owned()),
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
    if routes.state.is_ready() { "ready\n".into_response() } else { not_ready() }
}

fn not_ready() -> Response {
    let why = "not ready: hooks are being attached or taken down\n";
    (StatusCode::SERVICE_UNAVAILABLE, why).into_response()
}

/// Lets a request in, with what is known of who sent it.
async fn authenticate(
    AxumState(security): AxumState<Option<Arc<Security>>>,
    Extension(certified): Extension<Certified>,
    mut request: Request,
    next: Next,
) -> Response {
    let rules = security.map(|security| security.rules());
    let mut is_known = certified.0;
    if let Some(rules) = rules.as_ref().filter(|rules| rules.asks_for_password()) {
        is_known = rules.knows(request.headers()).await;
        if !is_known {
            return unauthorized();
        }
    }
    request.extensions_mut().insert(Authenticated(is_known));
    let mut response = next.run(request).await;
    if let Some(rules) = rules {
        rules.add_headers(response.headers_mut());
    }
    response
}

fn unauthorized() -> Response {
    let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"ghostport\", charset=\"UTF-8\"")];
    (StatusCode::UNAUTHORIZED, challenge, "a user's name and password are asked for\n")
        .into_response()
}

#[cfg(test)]
mod tests;
