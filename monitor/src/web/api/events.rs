//! `/api/v1/events`.

use axum::{
    extract::{Query, State, rejection::QueryRejection},
    http::StatusCode,
    response::Response,
};
use jiff::Timestamp;
use serde::Deserialize;

use super::answer::{Api, problem, query_error};
use crate::{
    api::event::Events,
    config::{PortRange, quantity},
    event::EventName,
    store::Filter,
};

/// Most events of one answer.
const MAX_EVENTS: u32 = 1000;

/// The query.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventQuery {
    /// Only events of this duration until now, as in `24h`.
    since: Option<String>,
    port: Option<String>,
    /// Name of a kind without `ghostport.`.
    kind: Option<String>,
    /// Only so many, the newest.
    limit: Option<u32>,
}

impl EventQuery {
    /// The filter that the query means; an error says what is wrong with it.
    fn filter(&self, now: Timestamp) -> Result<Filter, String> {
        let since = self.since.as_deref().map(|since| {
            let duration = quantity::parse_duration(since);
            duration.ok_or_else(|| format!("{since:?} is not {}", quantity::DURATION))
        });
        let since = since.transpose()?;
        let kind = self.kind.as_deref().map(|kind| {
            EventName::from_kind(kind).ok_or_else(|| {
                let known: Vec<&str> = EventName::ALL.iter().map(|name| name.kind()).collect();
                format!("{kind:?} is no kind of event: {}", known.join(", "))
            })
        });
        let port = self.port.as_deref().map(|port| {
            let range = port.parse::<PortRange>();
            range.map_err(|error| format!("port: {error}; expected {}", PortRange::EXPECTED))
        });
        Ok(Filter {
            since: since.map(|since| now.checked_sub(since).unwrap_or(Timestamp::MIN)),
            port: port.transpose()?,
            kind: kind.transpose()?,
            limit: Some(self.limit.unwrap_or(MAX_EVENTS).min(MAX_EVENTS)),
            ..Filter::default()
        })
    }
}

/// Stored events.
pub(super) async fn stored(
    State(api): State<Api>,
    query: Result<Query<EventQuery>, QueryRejection>,
) -> Response {
    let filter = match query {
        Ok(Query(query)) => query.filter(Timestamp::now()),
        Err(rejection) => Err(query_error(&rejection)),
    };
    match filter {
        Ok(filter) => {
            let stored = move |lines| Ok(Some(Events::from_lines(lines)?));
            api.answer(move |source| source.events(&filter).and_then(stored)).await
        }
        Err(why) => problem(StatusCode::BAD_REQUEST, &why),
    }
}
