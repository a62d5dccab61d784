//! `/api/v1` and the live page: what the agent knows, with the details that no metric may carry.
//!
//! One file for each route; `answer` is what they have in common.

mod agent;
mod answer;
mod catalogue;
mod events;
mod history;
mod hooks;
mod listeners;
mod ports;
mod selftest;
mod stream;
mod talkers;

use axum::{
    Extension, Router,
    extract::{Request, State as AxumState},
    http::StatusCode,
    middleware::{self, Next},
    response::Response,
    routing::{any, get, post},
};
use std::sync::Arc;
use tokio::sync::watch;

#[cfg(test)]
pub(super) use self::answer::MAX_STREAMS;
use self::answer::{Api, problem};
use super::{
    administrator::{TcpEnds, is_administrator},
    guard::{Admission, Authenticated, Endpoint, NO_ADMINISTRATOR, admission},
    page,
    source::SharedSource,
    table,
};

/// The routes and the live page, each behind the guard, until `stop` is closed.
pub(super) fn router(source: SharedSource, stop: watch::Receiver<()>) -> Router {
    let api = Api::new(Arc::clone(&source), stop);
    Router::new()
        .route(table::PORTS.path, get(ports::all))
        .route(table::PORT.path, get(ports::one))
        .route(table::HISTORY.path, get(history::history))
        .route(table::CATALOGUE.path, get(catalogue::catalogue))
        .route(table::AGENT.path, get(agent::agent))
        .route(table::LISTENERS.path, get(listeners::all))
        .route(table::EVENTS.path, get(events::stored))
        .route(table::EVENT_STREAM.path, get(stream::events))
        .route(table::TALKERS.path, get(talkers::talkers))
        .route(table::HOOKS.path, get(hooks::hooks))
        .route(table::SELFTEST.path, post(selftest::begin))
        .route(table::SELFTEST_RESULT.path, post(selftest::finish))
        .route("/api/{*rest}", any(unknown))
        .route(table::PAGE.path, get(page::page))
        .route(table::PAGE_FILE.path, get(page::file))
        .method_not_allowed_fallback(async || {
            problem(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered here")
        })
        .layer(middleware::from_fn_with_state(source, admit))
        .with_state(api)
}

/// Passes a request on to its route, or refuses it with the reason.
async fn admit(
    AxumState(source): AxumState<SharedSource>,
    Extension(endpoint): Extension<Endpoint>,
    Extension(sender): Extension<Authenticated>,
    ends: Option<Extension<TcpEnds>>,
    request: Request,
    next: Next,
) -> Response {
    let why = match admission(source.details(), endpoint, sender, request.uri(), request.headers())
    {
        Admission::Granted => return next.run(request).await,
        Admission::ToAdministrators if is_administrator(ends.map(|ends| ends.0)).await => {
            return next.run(request).await;
        }
        Admission::ToAdministrators => NO_ADMINISTRATOR,
        Admission::Refused(why) => why,
    };
    if request.uri().path() == table::PAGE.path {
        return page::landing(why);
    }
    problem(StatusCode::FORBIDDEN, why)
}

async fn unknown() -> Response {
    problem(StatusCode::NOT_FOUND, "there is nothing here: docs/reference/http.md lists the routes")
}
