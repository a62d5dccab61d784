//! `/api/v1/ports/{port}/history`.

use axum::{
    extract::{Path, State},
    response::Response,
};

use super::{answer::Api, ports::number};

/// The last hour of one port.
pub(super) async fn history(State(api): State<Api>, Path(port): Path<String>) -> Response {
    match number(&port) {
        Ok(number) => api.answer(move |source| source.history(number)).await,
        Err(problem) => problem,
    }
}
