//! The server: every listener with its routes, and the authentication of clients. It has a thread and
//! a runtime of its own, so that handshakes, passwords and clients delay nothing but each other.

use std::{io, sync::Arc, thread, time::Duration};

use axum::{
    Extension,
    extract::{Request, State as AxumState},
    http::{Extensions, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use tokio::{
    runtime,
    sync::{oneshot, watch},
    task::JoinSet,
    time::timeout,
};
use tower_http::compression::CompressionLayer;

use super::{
    activity, api,
    client::Client,
    connection::{Certified, ConnectionContext, accept},
    guard::{Authenticated, Endpoint},
    listener::Listener,
    routes::{self, State},
    security::{Security, Verified},
    slots::Slots,
};

/// Connections over TCP that are served at once, and those of one client.
pub(super) const MAX_CONNECTIONS: usize = 128;
pub(super) const MAX_OF_CLIENT: usize = 64;

/// The same over the Unix socket.
const MAX_UNIX_CONNECTIONS: usize = 32;
const MAX_UNIX_OF_CLIENT: usize = 16;

/// A running server.
#[derive(Debug)]
pub struct Server {
    stop: watch::Sender<()>,
    stopped: oneshot::Receiver<()>,
}

impl Server {
    /// Starts the server's thread.
    ///
    /// # Errors
    /// The thread or its runtime cannot be made.
    pub fn start(listeners: Vec<Listener>, state: State) -> io::Result<Self> {
        let runtime =
            runtime::Builder::new_current_thread().thread_name("web-work").enable_all().build()?;
        let (stop, stopping) = watch::channel(());
        let (end, stopped) = oneshot::channel();
        thread::Builder::new().name("web".into()).spawn(move || {
            runtime.block_on(serve(listeners, state, stopping));
            // What hangs on a file is left behind.
            runtime.shutdown_background();
            let _ = end.send(());
        })?;
        Ok(Self { stop, stopped })
    }

    /// Ends the server. Requests in progress have a moment to end; whatever takes longer than `limit`
    /// is left behind.
    pub async fn stop(self, limit: Duration) {
        drop(self.stop);
        if timeout(limit, self.stopped).await.is_err() {
            tracing::warn!("the web server does not end");
        }
    }
}

/// Serves until `stop` is closed.
pub async fn serve(listeners: Vec<Listener>, state: State, stop: watch::Receiver<()>) {
    let security = state.security.clone();
    let api = api::router(Arc::clone(&state.source), stop.clone());
    let router = routes::router(state).merge(api);
    let router =
        router.fallback(async || (StatusCode::NOT_FOUND, "there is nothing here: see /\n"));
    // Streams of events are left as they are: a compressor holds lines back.
    let router = router.layer(CompressionLayer::new());
    let tcp_slots = Slots::new(MAX_CONNECTIONS, MAX_OF_CLIENT);
    let unix_slots = Slots::new(MAX_UNIX_CONNECTIONS, MAX_UNIX_OF_CLIENT);
    let mut acceptors = JoinSet::new();
    for listener in listeners {
        let endpoint = listener.endpoint();
        // The permissions of the Unix socket have authenticated its clients.
        let security = security.clone().filter(|_| endpoint != Endpoint::Unix);
        let slots = if endpoint == Endpoint::Unix { &unix_slots } else { &tcp_slots };
        let authentication = middleware::from_fn_with_state(security.clone(), authenticate);
        let router = router
            .clone()
            .layer(authentication)
            .layer(middleware::from_fn(activity::track))
            .layer(Extension(endpoint));
        let context = ConnectionContext {
            router,
            security,
            slots: slots.clone(),
            stop: stop.clone(),
            known: Extensions::new(),
        };
        match listener.moved_here() {
            Ok(listener) => drop(acceptors.spawn(accept(listener, context))),
            Err(error) => tracing::error!(%error, "a listener cannot be served"),
        }
    }
    acceptors.join_all().await;
}

/// Checks a client's credentials, and passes the request on with the result.
async fn authenticate(
    AxumState(security): AxumState<Option<Arc<Security>>>,
    Extension(certified): Extension<Certified>,
    Extension(client): Extension<Client>,
    mut request: Request,
    next: Next,
) -> Response {
    let rules = match &security {
        Some(security) => Some(security.rules().await),
        None => None,
    };
    let mut is_authenticated = certified.0;
    if let Some(rules) = rules.as_ref().filter(|rules| rules.asks_for_password()) {
        match rules.verify(request.headers(), client).await {
            Verified::Right => is_authenticated = true,
            Verified::Wrong => return unauthorized(),
            Verified::TooMany => return too_many(),
        }
    }
    request.extensions_mut().insert(Authenticated(is_authenticated));
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

fn too_many() -> Response {
    let why = "too many passwords of this address wait to be verified: ask again\n";
    (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "2")], why).into_response()
}
