//! `/api/v1/hooks`.

use axum::{extract::State, response::Response};

use super::answer::Api;
use crate::api::hook::Hooks;

/// Every hook.
pub(super) async fn hooks(State(api): State<Api>) -> Response {
    api.answer(|source| Ok(Some(Hooks { hooks: source.hooks()? }))).await
}
