//! `/api/v1/ports` and `/api/v1/ports/{port}`.

use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};

use super::answer::{Api, problem};
use crate::api::port::Ports;

/// Every watched port.
pub(super) async fn all(State(api): State<Api>) -> Response {
    api.answer(|source| Ok(Some(Ports { ports: source.ports(None)? }))).await
}

/// One port.
pub(super) async fn one(State(api): State<Api>, Path(port): Path<String>) -> Response {
    match number(&port) {
        Ok(number) => {
            api.answer(move |source| Ok(source.ports(Some(number))?.into_iter().next())).await
        }
        Err(problem) => problem,
    }
}

/// The port of a path, or the answer to a path that has none.
#[expect(clippy::result_large_err, reason = "the error is the answer")]
pub(super) fn number(port: &str) -> Result<u16, Response> {
    port.parse::<u16>().ok().filter(|number| *number != 0).ok_or_else(|| {
        problem(StatusCode::BAD_REQUEST, &format!("{port:?} is no port: 1 to 65535"))
    })
}
