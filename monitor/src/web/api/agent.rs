//! `/api/v1/agent`.

use axum::{extract::State, response::Response};

use super::answer::Api;

/// The agent itself.
pub(super) async fn agent(State(api): State<Api>) -> Response {
    api.answer(|source| source.agent().map(Some)).await
}
