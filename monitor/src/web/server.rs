//! The server: every listener with its routes, and the authentication of clients.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{Request, State as AxumState},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
};

use super::{
    api,
    connection::{Certified, ConnectionContext, MAX_CONNECTIONS, accept},
    guard::{Authenticated, Endpoint},
    listener::Listener,
    routes::{self, State},
    security::Security,
};

/// Serves until `stop` is closed.
pub async fn serve(listeners: Vec<Listener>, state: State, stop: watch::Receiver<()>) {
    let security = state.security.clone();
    let api = api::router(Arc::clone(&state.source), stop.clone());
    let router = routes::router(state).merge(api);
    let router =
        router.fallback(async || (StatusCode::NOT_FOUND, "there is nothing here: see /\n"));
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut acceptors = JoinSet::new();
    for listener in listeners {
        // The permissions of the Unix socket have authenticated its clients.
        let security = security.clone().filter(|_| listener.endpoint() != Endpoint::Unix);
        let authentication = middleware::from_fn_with_state(security.clone(), authenticate);
        let router = router.clone().layer(authentication).layer(Extension(listener.endpoint()));
        let context =
            ConnectionContext { router, security, slots: Arc::clone(&slots), stop: stop.clone() };
        acceptors.spawn(accept(listener, context));
    }
    acceptors.join_all().await;
}

/// Checks a client's credentials, and passes the request on with the result.
async fn authenticate(
    AxumState(security): AxumState<Option<Arc<Security>>>,
    Extension(certified): Extension<Certified>,
    mut request: Request,
    next: Next,
) -> Response {
    let rules = security.map(|security| security.rules());
    let mut is_authenticated = certified.0;
    if let Some(rules) = rules.as_ref().filter(|rules| rules.asks_for_password()) {
        is_authenticated = rules.knows(request.headers()).await;
        if !is_authenticated {
            return unauthorized();
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
