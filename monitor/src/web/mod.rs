//! The agent's HTTP server.
//!
//! | route | meaning |
//! | --- | --- |
//! | `GET /` | page with links to the others |
//! | `GET /metrics` | text exposition 0.0.4, read from the kernel now |
//! | `GET /healthz` | 200: the agent answers |
//! | `GET /readyz` | 200 once every hook has been tried, 503 before |
//!
//! Whoever reaches the listener may read them. A connection has ten seconds for each request's
//! head, and there are at most [`MAX_CONNECTIONS`] at once: whoever holds them all keeps others
//! waiting, and costs the host no more.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::State as AxumState,
    http::{StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::{JoinSet, spawn_blocking},
    time::{sleep, timeout},
};

use crate::metrics::Exposition;

/// Connections served at once.
const MAX_CONNECTIONS: usize = 128;

/// Time that a client has to send the head of a request, or to stay silent between two.
const HEAD_LIMIT: Duration = Duration::from_secs(10);

/// Time for one connection as a whole: no scrape takes longer.
const CONNECTION_LIMIT: Duration = Duration::from_secs(300);

/// Bytes of a request's head.
const MAX_HEAD: usize = 16 * 1024;

/// Pause after an accept that failed for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Exactly what Prometheus 3 expects.
const EXPOSITION_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

const INDEX: &str = include_str!("index.html");

/// What the routes answer from.
#[derive(Clone)]
pub struct State {
    /// The metrics.
    pub exposition: Exposition,
    /// Whether every hook has been tried.
    pub ready: Arc<AtomicBool>,
}

/// An address that cannot be served on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}; choose another with --web.listen-address")]
pub struct BindError {
    address: SocketAddr,
    source: io::Error,
}

/// Binds every address.
pub async fn bind(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, BindError> {
    let mut listeners = Vec::with_capacity(addresses.len());
    for address in addresses {
        let listener = TcpListener::bind(address).await;
        listeners.push(listener.map_err(|source| BindError { address: *address, source })?);
    }
    Ok(listeners)
}

/// Serves until `stop` is closed.
pub async fn serve(listeners: Vec<TcpListener>, state: State, stop: watch::Receiver<()>) {
    let router = router(state);
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut acceptors = JoinSet::new();
    for listener in listeners {
        acceptors.spawn(accept(listener, router.clone(), Arc::clone(&slots), stop.clone()));
    }
    acceptors.join_all().await;
}

fn router(state: State) -> Router {
    Router::new()
        .route("/", get(async || Html(INDEX)))
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .fallback(async || (StatusCode::NOT_FOUND, "there is nothing here: see /\n"))
        .with_state(state)
}

async fn metrics(AxumState(state): AxumState<State>) -> Response {
    let exposition = Arc::clone(&state.exposition);
    // Thousands of ports take a while to sum up.
    match spawn_blocking(move || exposition()).await {
        Ok(Ok(text)) => ([(header::CONTENT_TYPE, EXPOSITION_TYPE)], text).into_response(),
        Ok(Err(error)) => failure(&format!("{error:#}")),
        Err(error) => failure(&error.to_string()),
    }
}

fn failure(why: &str) -> Response {
    tracing::error!(why, "the metrics cannot be read");
    (StatusCode::INTERNAL_SERVER_ERROR, format!("the metrics cannot be read: {why}\n"))
        .into_response()
}

async fn readyz(AxumState(state): AxumState<State>) -> Response {
    if state.ready.load(Ordering::Relaxed) {
        "ready\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "hooks are being attached\n").into_response()
    }
}

async fn accept(
    listener: TcpListener,
    router: Router,
    slots: Arc<Semaphore>,
    mut stop: watch::Receiver<()>,
) {
    let mut connections = JoinSet::new();
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return;
        };
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let (router, stop) = (router.clone(), stop.clone());
                    connections.spawn(async move {
                        let _ = timeout(CONNECTION_LIMIT, converse(stream, router, stop)).await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    tracing::debug!(%error, "cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
            _ = stop.changed() => break,
        }
    }
    connections.join_all().await;
}

/// Serves one connection; on `stop`, to the end of the request under way.
async fn converse(stream: TcpStream, router: Router, mut stop: watch::Receiver<()>) {
    let service = TowerToHyperService::new(router.into_service::<Incoming>());
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        _ = stop.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "a connection ended badly");
    }
}

#[cfg(test)]
mod tests;
