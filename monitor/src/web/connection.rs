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

use axum::{
    Router,
    http::{Extensions, Request},
};
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest},
    net::{TcpStream, UnixStream},
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use super::{
    administrator::TcpEnds,
    client::Client,
    listener::{Listener, Stream},
    security::Security,
    slots::Slots,
};

/// Time that a client has to send the head of a request, or to stay silent between two.
pub(super) const HEAD_LIMIT: Duration = Duration::from_secs(10);

/// Time for a TLS handshake.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);

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

/// What the connections of a listener share, and what is known of one of them.
#[derive(Clone)]
pub(super) struct ConnectionContext {
    pub(super) router: Router,
    pub(super) security: Option<Arc<Security>>,
    pub(super) slots: Slots,
    pub(super) stop: watch::Receiver<()>,
    /// What every request of the connection is given.
    pub(super) known: Extensions,
}

impl ConnectionContext {
    /// The same for a connection of which the routes know this as well.
    fn with<T: Clone + Send + Sync + 'static>(mut self, known: T) -> Self {
        self.known.insert(known);
        self
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
        let stream = tokio::select! {
            stream = next_connection(&listener) => stream,
            _ = context.stop.changed() => break,
        };
        connections.spawn(serve(stream, context.clone()));
        // Finished tasks are collected here, or their results would pile up.
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    connections.join_all().await;
}

/// Serves a connection. A client that has gone already is not known.
async fn serve(stream: Stream, context: ConnectionContext) {
    match stream {
        Stream::Tcp(stream) => {
            let Some(ends) = ends(&stream) else { return };
            let served = |context| serve_tcp(stream, context);
            in_slot(Client::of_tcp(ends), context.with(ends), served).await;
        }
        Stream::Unix(stream) => {
            let Ok(peer) = stream.peer_cred() else { return };
            let process = ClientProcess(peer.pid().and_then(|pid| u32::try_from(pid).ok()));
            let served = |context| serve_unix(stream, context);
            in_slot(Client::User(peer.uid()), context.with(process), served).await;
        }
    }
}

/// Serves a connection if its client has a share left, until another one needs the slot.
async fn in_slot<Served: Future<Output = ()>>(
    client: Client,
    context: ConnectionContext,
    serve: impl FnOnce(ConnectionContext) -> Served,
) {
    let Some(mut slot) = context.slots.take(client) else {
        return tracing::debug!(?client, "a client has as many requests in progress as it may");
    };
    let context = context.with(client).with(slot.activity.clone());
    tokio::select! {
        () = serve(context) => {}
        () = slot.evicted() => tracing::debug!(?client, "a connection has made room"),
    }
}

fn ends(stream: &TcpStream) -> Option<TcpEnds> {
    Some(TcpEnds { here: stream.local_addr().ok()?, there: stream.peer_addr().ok()? })
}

/// Serves a connection over the Unix socket.
async fn serve_unix(stream: UnixStream, context: ConnectionContext) {
    let far_end = FarEnd::of(&stream);
    serve_stream(stream, far_end, context, Certified(false)).await;
}

/// Serves a TCP connection, over TLS where it is configured.
async fn serve_tcp(stream: TcpStream, mut context: ConnectionContext) {
    // The kernel cuts off a peer that does not read its answer. Where that cannot be set, the time
    // limit of the connection remains.
    let _ = set_tcp_user_timeout(&stream, ACKNOWLEDGE_LIMIT_MS);
    let tls = match &context.security {
        Some(security) => security.rules().await.tls(),
        None => None,
    };
    let far_end = FarEnd::of(&stream);
    let Some(tls) = tls else {
        return serve_stream(stream, far_end, context, Certified(false)).await;
    };
    let handshake = timeout(HANDSHAKE_LIMIT, TlsAcceptor::from(tls).accept(stream));
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
    let flag = StreamFlag::default();
    let context = context.with(flag.clone()).with(certified);
    let ConnectionContext { router, mut stop, known, .. } = context;
    let routes = TowerToHyperService::new(router.into_service::<Incoming>());
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().extend(known.clone());
        routes.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
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
