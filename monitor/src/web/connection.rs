//! Connections: who comes in, how it is ciphered, and when it ends.

use std::{pin::pin, sync::Arc, time::Duration};

use axum::{Extension, Router};
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
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use super::{
    MAX_CONNECTIONS,
    api::Following,
    listener::{Listener, Stream},
    security::Security,
};

/// Time that a client has to send the head of a request, or to stay silent between two.
pub(super) const HEAD_LIMIT: Duration = Duration::from_secs(10);

/// The same while half of the places are taken: whoever has something to ask gets a place soon.
const CROWDED_HEAD_LIMIT: Duration = Duration::from_secs(1);

/// Time after which a connection takes no further request, unless it is used to follow events.
pub(super) const CONNECTION_LIMIT: Duration = Duration::from_secs(300);

/// Time for the request under way when a connection or the agent ends.
pub(super) const LAST_ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// Time for a peer to acknowledge what it was sent.
const ACKNOWLEDGE_LIMIT_MS: u32 = 10_000;

/// Bytes of a request's head.
const MAX_HEAD: usize = 16 * 1024;

/// Pause after an accept that failed for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the connections of a listener share.
#[derive(Clone)]
pub(super) struct ConnectionContext {
    pub(super) router: Router,
    pub(super) security: Option<Arc<Security>>,
    pub(super) slots: Arc<Semaphore>,
    pub(super) stop: watch::Receiver<()>,
}

impl ConnectionContext {
    /// How long a client that has come now may stay silent.
    fn head_limit(&self) -> Duration {
        if self.slots.available_permits() < MAX_CONNECTIONS / 2 {
            CROWDED_HEAD_LIMIT
        } else {
            HEAD_LIMIT
        }
    }
}

/// Whether the client of a connection has shown a certificate that was verified.
#[derive(Clone, Copy, Debug)]
pub(super) struct Certified(pub(super) bool);

/// Serves whoever comes in, until the server stops.
pub(super) async fn accept(listener: Listener, mut context: ConnectionContext) {
    let mut connections = JoinSet::new();
    loop {
        // The slot comes after the connection, or an idle listener would keep one from the others.
        let accepted = async {
            let stream = next_connection(&listener).await;
            (stream, Arc::clone(&context.slots).acquire_owned().await)
        };
        let (stream, slot) = tokio::select! {
            accepted = accepted => accepted,
            _ = context.stop.changed() => break,
        };
        let context = context.clone();
        connections.spawn(async move {
            match stream {
                Stream::Tcp(stream) => receive(stream, context).await,
                Stream::Unix(stream) => converse(stream, context, Certified(false)).await,
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
async fn receive(stream: TcpStream, mut context: ConnectionContext) {
    // A peer that takes nothing of its answer is cut off by the kernel; where that cannot be set,
    // the time of the connection is still limited.
    let _ = set_tcp_user_timeout(&stream, ACKNOWLEDGE_LIMIT_MS);
    let tls = context.security.as_ref().and_then(|security| security.rules().tls());
    let Some(tls) = tls else { return converse(stream, context, Certified(false)).await };
    let handshake = timeout(context.head_limit(), TlsAcceptor::from(tls).accept(stream));
    let stream = tokio::select! {
        handshake = handshake => handshake,
        _ = context.stop.changed() => return,
    };
    match stream {
        Ok(Ok(stream)) => {
            // A certificate that was not verified is not let through.
            let certified = stream.get_ref().1.peer_certificates().is_some();
            converse(stream, context, Certified(certified)).await;
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
    context: ConnectionContext,
    certified: Certified,
) {
    let head_limit = context.head_limit();
    let ConnectionContext { router, mut stop, .. } = context;
    let following = Following::default();
    let router = router.layer(Extension(following.clone())).layer(Extension(certified));
    let service = TowerToHyperService::new(router.into_service::<Incoming>());
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_limit)
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
