//! `/api/v1/hooks`.

use axum::{extract::State, response::Response};

use super::answer::Api;
use crate::api::hook::Hooks;

/// Every hook.
pub(super) async fn hooks(State(api): State<Api>) -> Response {
    api.answer(|source| {
        let (hooks, addresses_error) = (source.hooks()?, source.addresses_error());
        Ok(Some(Hooks { hooks, addresses_error }))
    })
    .await
}
