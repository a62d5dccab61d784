//! Connections: accepting, TLS, and their time limits.

use std::{
    future, io,
    os::fd::AsFd,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Extension, Router};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest},
    net::TcpStream,
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use super::{
    administrator::TcpEnds,
    listener::{Listener, Stream},
    security::Security,
};

/// Connections served at once.
pub(super) const MAX_CONNECTIONS: usize = 128;

/// Time that a client has to send the head of a request, or to stay silent between two.
pub(super) const HEAD_LIMIT: Duration = Duration::from_secs(10);

/// The same while half of the connections are taken, so that idle ones make room soon.
const CROWDED_HEAD_LIMIT: Duration = Duration::from_secs(1);

/// Time after which a connection takes no further request, unless it carries a stream of events.
pub(super) const CONNECTION_LIMIT: Duration = Duration::from_secs(300);

/// Time for the request in progress when a connection or the agent ends.
pub(super) const LAST_ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// Time for a peer to acknowledge data (`TCP_USER_TIMEOUT`, RFC 5482).
const ACKNOWLEDGE_LIMIT_MS: u32 = 10_000;

/// Size limit of a request's head, bytes.
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
    /// The same for a connection of this client.
    fn with(self, client: ClientProcess) -> Self {
        Self { router: self.router.layer(Extension(client)), ..self }
    }

    /// Time limit for the head of a request on a connection that begins now.
    fn head_limit(&self) -> Duration {
        if self.slots.available_permits() < MAX_CONNECTIONS / 2 {
            CROWDED_HEAD_LIMIT
        } else {
            HEAD_LIMIT
        }
    }
}

/// Whether the client of a connection has presented a certificate that was verified.
#[derive(Clone, Copy, Debug)]
pub(super) struct Certified(pub(super) bool);

/// The process at the other end of a Unix socket, when it connected; `None` over TCP.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClientProcess(pub(super) Option<u32>);

/// Set on a connection that carries a stream of events, which has no time limit.
#[derive(Clone, Debug, Default)]
pub(super) struct StreamFlag(Arc<AtomicBool>);

impl StreamFlag {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Accepts and serves connections until the server stops.
pub(super) async fn accept(listener: Listener, mut context: ConnectionContext) {
    let mut connections = JoinSet::new();
    loop {
        // Connection first, slot second: an idle listener must not hold a slot.
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
                Stream::Tcp(stream) => serve_tcp(stream, context).await,
                Stream::Unix(stream) => {
                    let far_end = FarEnd::of(&stream);
                    let pid = stream.peer_cred().ok().and_then(|peer| peer.pid());
                    let client = ClientProcess(pid.and_then(|pid| u32::try_from(pid).ok()));
                    let (context, certified) = (context.with(client), Certified(false));
                    serve_stream(stream, far_end, context, certified).await;
                }
            }
            drop(slot);
        });
        // Finished tasks are collected here, or their results would pile up.
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    connections.join_all().await;
}

/// Serves a TCP connection, over TLS where it is configured.
async fn serve_tcp(stream: TcpStream, mut context: ConnectionContext) {
    // The kernel cuts off a peer that does not read its answer. Where that cannot be set, the time
    // limit of the connection remains.
    let _ = set_tcp_user_timeout(&stream, ACKNOWLEDGE_LIMIT_MS);
    if let (Ok(here), Ok(there)) = (stream.local_addr(), stream.peer_addr()) {
        context.router = context.router.layer(Extension(TcpEnds { here, there }));
    }
    let tls = context.security.as_ref().and_then(|security| security.rules().tls());
    let far_end = FarEnd::of(&stream);
    let Some(tls) = tls else {
        return serve_stream(stream, far_end, context, Certified(false)).await;
    };
    let handshake = timeout(context.head_limit(), TlsAcceptor::from(tls).accept(stream));
    let stream = tokio::select! {
        handshake = handshake => handshake,
        _ = context.stop.changed() => return,
    };
    match stream {
        Ok(Ok(stream)) => {
            // The handshake fails for a certificate that cannot be verified.
            let certified = stream.get_ref().1.peer_certificates().is_some();
            serve_stream(stream, far_end, context, Certified(certified)).await;
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

/// Serves one connection; on `stop`, to the end of the request in progress.
async fn serve_stream(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    far_end: FarEnd,
    context: ConnectionContext,
    certified: Certified,
) {
    let head_limit = context.head_limit();
    let ConnectionContext { router, mut stop, .. } = context;
    let flag = StreamFlag::default();
    let router = router.layer(Extension(flag.clone())).layer(Extension(certified));
    let service = TowerToHyperService::new(router.into_service::<Incoming>());
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_limit)
        .max_buf_size(MAX_HEAD)
        // A client that says that it has sent all still waits for its answer.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => Ok(outcome),
        () = limit(&flag) => Err(()),
        () = stream_left(&far_end, &flag) => return,
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

/// The client's end of a connection, as the kernel knows it. The server reads nothing
/// while an answer is under way.
struct FarEnd(Option<TcpStream>);

impl FarEnd {
    /// Without a descriptor to spare, only a failed write shows that the client has gone.
    fn of(stream: &impl AsFd) -> Self {
        let copy = stream.as_fd().try_clone_to_owned();
        // Also of a Unix socket: only its readiness is asked for, which all sockets have.
        Self(copy.and_then(|copy| TcpStream::from_std(copy.into())).ok())
    }

    /// Ends when the client sends no more.
    async fn finishes(&self) {
        let Some(socket) = &self.0 else { return future::pending().await };
        while let Ok(ready) = socket.ready(Interest::READABLE).await {
            if ready.is_read_closed() {
                return;
            }
            // Wait for the next change: the server reads by its own descriptor.
            let nothing = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
            let _ = socket.try_io(Interest::READABLE, nothing);
        }
        future::pending::<()>().await;
    }
}

/// Ends when the client of a stream of events goes, so that the connection is free at once. Any other
/// client that sends no more waits for its answer.
async fn stream_left(far_end: &FarEnd, flag: &StreamFlag) {
    far_end.finishes().await;
    if !flag.is_set() {
        future::pending::<()>().await;
    }
}

/// Ends when a connection's time is up; never where it carries a stream of events.
async fn limit(flag: &StreamFlag) {
    sleep(CONNECTION_LIMIT).await;
    if flag.is_set() {
        future::pending::<()>().await;
    }
}
