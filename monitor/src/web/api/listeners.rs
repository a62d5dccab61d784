//! `/api/v1/listeners`.

use axum::{extract::State, response::Response};

use super::answer::Api;

/// Every listener of the host.
pub(super) async fn all(State(api): State<Api>) -> Response {
    api.answer(|source| Ok(Some(source.listeners()))).await
}
