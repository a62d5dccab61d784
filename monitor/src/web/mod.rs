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
//! Whoever reaches the listener may read the first three. A connection has ten seconds for each request's
//! head, and there are at most [`MAX_CONNECTIONS`] at once: whoever holds them all keeps others
//! waiting, and costs the host no more. Those who follow events get a quarter of them at most.

pub mod api;
pub mod client;
pub mod guard;
mod listener;
mod page;

use std::{
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Extension, Router,
    body::{Body, Bytes},
    extract::State as AxumState,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use futures_util::{StreamExt as _, stream};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{Semaphore, watch},
    task::{JoinSet, spawn_blocking},
    time::{sleep, timeout},
};

pub use self::listener::{BindError, Listener, SOCKET};
use self::{
    api::{Following, SharedSource},
    listener::Stream,
};
use crate::metrics::Exposition;

/// Connections served at once.
const MAX_CONNECTIONS: usize = 128;

/// Time that a client has to send the head of a request, or to stay silent between two.
const HEAD_LIMIT: Duration = Duration::from_secs(10);

/// Time after which a connection takes no further request, unless it is used to follow events.
const CONNECTION_LIMIT: Duration = Duration::from_secs(300);

/// Time for the request under way when a connection or the agent ends.
const LAST_ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// Time for a peer to acknowledge what it was sent.
const ACKNOWLEDGE_LIMIT_MS: u32 = 10_000;

/// Bytes of a request's head.
const MAX_HEAD: usize = 16 * 1024;

/// Pause after an accept that failed for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

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
    /// What only some may read.
    pub source: SharedSource,
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
        let router = router.clone().layer(Extension(listener.door()));
        acceptors.spawn(accept(listener, router, Arc::clone(&slots), stop.clone()));
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
    if routes.state.ready.load(Ordering::Relaxed) {
        "ready\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "hooks are being attached\n").into_response()
    }
}

async fn accept(
    listener: Listener,
    router: Router,
    slots: Arc<Semaphore>,
    mut stop: watch::Receiver<()>,
) {
    let mut connections = JoinSet::new();
    loop {
        // The slot comes after the connection, or an idle listener would keep one from the others.
        let accepted = async {
            let stream = next_connection(&listener).await;
            (stream, Arc::clone(&slots).acquire_owned().await)
        };
        let (stream, slot) = tokio::select! {
            accepted = accepted => accepted,
            _ = stop.changed() => break,
        };
        let (router, stop) = (router.clone(), stop.clone());
        connections.spawn(async move {
            match stream {
                Stream::Tcp(stream) => {
                    // A peer that takes nothing of its answer is cut off by the kernel; where that
                    // cannot be set, the time of the connection is still limited.
                    let _ = set_tcp_user_timeout(&stream, ACKNOWLEDGE_LIMIT_MS);
                    converse(stream, router, stop).await;
                }
                Stream::Unix(stream) => converse(stream, router, stop).await,
            }
            drop(slot);
        });
        // Those that ended are collected on the way, or they would pile up.
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    connections.join_all().await;
}

async fn next_connection(listener: &Listener) -> Stream {
    loop {
        match listener.accept().await {
            Ok(stream) => return stream,
            Err(error) => {
                tracing::debug!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves one connection; on `stop`, to the end of the request under way.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    mut stop: watch::Receiver<()>,
) {
    let following = Following::default();
    let router = router.layer(Extension(following.clone()));
    let service = TowerToHyperService::new(router.into_service::<Incoming>());
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => Ok(outcome),
        () = limit(&following) => Err(()),
        _ = stop.changed() => Err(()),
    };
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(()) => {
            connection.as_mut().graceful_shutdown();
            timeout(LAST_ANSWER_LIMIT, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "a connection ended badly");
    }
}

/// The end of a connection that has one.
async fn limit(following: &Following) {
    sleep(CONNECTION_LIMIT).await;
    if following.is_on() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests;
