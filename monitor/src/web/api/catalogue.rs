//! `/api/v1/ports/{port}/catalogue`.

use axum::{
    Json,
    extract::Path,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use serde_json::json;

use super::{answer::problem, ports::number};
use crate::catalogue::{CATALOGUE, lookup};

/// What is known of one port by its number.
pub(super) async fn catalogue(Path(port): Path<String>) -> Response {
    let number = match number(&port) {
        Ok(number) => number,
        Err(problem) => return problem,
    };
    match (CATALOGUE.entry(number), lookup(number)) {
        (Some(entry), _) => Json(entry).into_response(),
        (None, Some(service)) => {
            Json(json!({ "port": number, "name": service.name })).into_response()
        }
        (None, None) => problem(StatusCode::NOT_FOUND, "IANA has no name for this port"),
    }
}
