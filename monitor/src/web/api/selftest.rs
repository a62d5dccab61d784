//! `/api/v1/selftest` and `/api/v1/selftest/result`: for clients of the Unix socket alone, whose
//! permissions say who may have calls of its own left out of the counts.

use axum::{
    Extension, Json,
    extract::{Query, State, rejection::QueryRejection},
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use serde::Deserialize;
use tokio::task::spawn_blocking;

use super::answer::{Api, problem, query_error};
use crate::web::{connection::ClientProcess, guard::Endpoint};

/// The query of the result.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Done {
    /// Whether the client has sent a packet.
    sent: bool,
}

/// Begins one.
pub(super) async fn begin(
    State(api): State<Api>,
    Extension(endpoint): Extension<Endpoint>,
    client: Option<Extension<ClientProcess>>,
) -> Response {
    if endpoint != Endpoint::Unix {
        return refusal();
    }
    let client = client.and_then(|Extension(ClientProcess(pid))| pid);
    let source = api.source;
    match spawn_blocking(move || source.begin_selftest(client)).await {
        Ok(Ok(Some(assignment))) => Json(assignment).into_response(),
        Ok(Ok(None)) => problem(StatusCode::SERVICE_UNAVAILABLE, "another selftest runs"),
        Ok(Err(error)) => failure(&format!("{error:#}")),
        Err(error) => failure(&error.to_string()),
    }
}

/// Ends it.
pub(super) async fn finish(
    State(api): State<Api>,
    Extension(endpoint): Extension<Endpoint>,
    query: Result<Query<Done>, QueryRejection>,
) -> Response {
    if endpoint != Endpoint::Unix {
        return refusal();
    }
    let Query(Done { sent }) = match query {
        Ok(query) => query,
        Err(rejection) => return problem(StatusCode::BAD_REQUEST, &query_error(&rejection)),
    };
    let source = api.source;
    match spawn_blocking(move || source.finish_selftest(sent)).await {
        Ok(Ok(Some(report))) => Json(report).into_response(),
        Ok(Ok(None)) => problem(StatusCode::NOT_FOUND, "no selftest has begun"),
        Ok(Err(error)) => failure(&format!("{error:#}")),
        Err(error) => failure(&error.to_string()),
    }
}

fn refusal() -> Response {
    problem(StatusCode::FORBIDDEN, "selftests are for clients of the Unix socket")
}

fn failure(why: &str) -> Response {
    tracing::error!(why, "a selftest failed");
    problem(StatusCode::INTERNAL_SERVER_ERROR, why)
}
