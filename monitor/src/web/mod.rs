//! The agent's HTTP server.
//!
//! | route | meaning |
//! | --- | --- |
//! | `GET /` | page with links to the others |
//! | `GET /metrics` | text exposition 0.0.4, read from the kernel now |
//! | `GET /healthz` | 200: the agent answers |
//! | `GET /readyz` | 200 once every hook has been tried, 503 before |
//! | `GET /api/v1/…` | see [`api`]: for those whom [`guard`] lets in |
//!
//! Whoever reaches the listener may read the first four, unless [`security`] asks for a password or a
//! certificate. A connection has ten seconds for each request's
//! head, and there are at most [`MAX_CONNECTIONS`] at once: whoever holds them all keeps others
//! waiting, and costs the host no more. Those who follow events get a quarter of them at most.

pub mod api;
pub mod client;
pub mod guard;
mod listener;
mod security;

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
    extract::{Request, State as AxumState},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::{Semaphore, watch},
    task::{JoinSet, spawn_blocking},
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use self::{
    api::{Following, SharedSource},
    guard::{Authenticated, Door},
    listener::Stream,
};
pub use self::{
    listener::{BindError, Listener, SOCKET},
    security::{Security, SecurityError},
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
    /// What is asked of those who connect over TCP; `None` for nothing.
    pub security: Option<Arc<Security>>,
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
    let security = state.security.clone();
    let api = api::router(Arc::clone(&state.source), stop.clone());
    let router = router(Routes { state, scrape: Arc::new(Semaphore::new(1)) }).merge(api);
    let router =
        router.fallback(async || (StatusCode::NOT_FOUND, "there is nothing here: see /\n"));
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut acceptors = JoinSet::new();
    for listener in listeners {
        // Who comes in by the Unix socket has shown by its permissions who it is.
        let security = security.clone().filter(|_| listener.door() != Door::Unix);
        let ask = middleware::from_fn_with_state(security.clone(), authenticate);
        let router = router.clone().layer(ask).layer(Extension(listener.door()));
        let reception =
            Reception { router, security, slots: Arc::clone(&slots), stop: stop.clone() };
        acceptors.spawn(accept(listener, reception));
    }
    acceptors.join_all().await;
}

/// What the handlers share.
#[derive(Clone)]
struct Routes {
    state: State,
    /// One exposition is made at a time: of thousands of ports it takes memory.
    scrape: Arc<Semaphore>,
}

fn router(routes: Routes) -> Router {
    Router::new()
        .route("/", get(async || Html(INDEX)))
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
    let exposition = spawn_blocking(move || {
        let exposition = (routes.state.exposition)();
        drop(turn);
        exposition
    });
    match exposition.await {
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

async fn readyz(AxumState(routes): AxumState<Routes>) -> Response {
    if routes.state.ready.load(Ordering::Relaxed) {
        "ready\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "hooks are being attached\n").into_response()
    }
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

/// What the connections of a listener share.
#[derive(Clone)]
struct Reception {
    router: Router,
    security: Option<Arc<Security>>,
    slots: Arc<Semaphore>,
    stop: watch::Receiver<()>,
}

/// Whether the client of a connection has shown a certificate that was verified.
#[derive(Clone, Copy, Debug)]
struct Certified(bool);

async fn accept(listener: Listener, mut reception: Reception) {
    let mut connections = JoinSet::new();
    loop {
        // The slot comes after the connection, or an idle listener would keep one from the others.
        let accepted = async {
            let stream = next_connection(&listener).await;
            (stream, Arc::clone(&reception.slots).acquire_owned().await)
        };
        let (stream, slot) = tokio::select! {
            accepted = accepted => accepted,
            _ = reception.stop.changed() => break,
        };
        let reception = reception.clone();
        connections.spawn(async move {
            match stream {
                Stream::Tcp(stream) => receive(stream, reception).await,
                Stream::Unix(stream) => converse(stream, reception, Certified(false)).await,
            }
            drop(slot);
        });
        // Those that ended are collected on the way, or they would pile up.
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    connections.join_all().await;
}

/// Serves a connection from a host, ciphered if it is to be.
async fn receive(stream: TcpStream, mut reception: Reception) {
    // A peer that takes nothing of its answer is cut off by the kernel; where that cannot be set,
    // the time of the connection is still limited.
    let _ = set_tcp_user_timeout(&stream, ACKNOWLEDGE_LIMIT_MS);
    let tls = reception.security.as_ref().and_then(|security| security.rules().tls());
    let Some(tls) = tls else { return converse(stream, reception, Certified(false)).await };
    let handshake = timeout(HEAD_LIMIT, TlsAcceptor::from(tls).accept(stream));
    let stream = tokio::select! {
        handshake = handshake => handshake,
        _ = reception.stop.changed() => return,
    };
    match stream {
        Ok(Ok(stream)) => {
            // A certificate that was not verified is not let through.
            let certified = stream.get_ref().1.peer_certificates().is_some();
            converse(stream, reception, Certified(certified)).await;
        }
        Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
        Err(_) => tracing::debug!("a TLS handshake took too long"),
    }
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
    reception: Reception,
    certified: Certified,
) {
    let Reception { router, mut stop, .. } = reception;
    let following = Following::default();
    let router = router.layer(Extension(following.clone())).layer(Extension(certified));
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
