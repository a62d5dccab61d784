//! `/api/v1/events/stream`: server-sent events,
//! <https://html.spec.whatwg.org/multipage/server-sent-events.html>.

use std::{io, time::Duration};

use axum::{
    Extension,
    body::{Body, Bytes},
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::{Stream, StreamExt as _, stream};
use serde::Deserialize;
use tokio::{
    sync::{broadcast::error::RecvError, watch},
    time::timeout,
};

use super::answer::{Api, MAX_STREAMS, problem, query_error};
use crate::{
    event::broadcast::{NumberedEvent, Subscribed, Subscriber},
    web::connection::StreamFlag,
};

/// Silence after which a comment is sent, so that neither end takes the connection for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The query.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StreamQuery {
    /// Whether every event is wanted, as `?every` says it.
    every: Option<String>,
}

impl StreamQuery {
    fn subscribed(&self) -> Result<Subscribed, String> {
        match self.every.as_deref() {
            None | Some("false") => Ok(Subscribed::Summed),
            Some("" | "true") => Ok(Subscribed::Every),
            Some(other) => Err(format!("every={other}: ask for `?every`, or leave it out")),
        }
    }
}

/// Events as they happen.
pub(super) async fn events(
    State(api): State<Api>,
    Extension(flag): Extension<StreamFlag>,
    headers: HeaderMap,
    query: Result<Query<StreamQuery>, QueryRejection>,
) -> Response {
    let subscribed = match query {
        Ok(Query(query)) => query.subscribed(),
        Err(rejection) => Err(query_error(&rejection)),
    };
    let subscribed = match subscribed {
        Ok(subscribed) => subscribed,
        Err(why) => return problem(StatusCode::BAD_REQUEST, &why),
    };
    let Ok(permit) = api.streams.try_acquire_owned() else {
        let why = format!("{MAX_STREAMS} follow already: ask again when one has gone");
        return problem(StatusCode::SERVICE_UNAVAILABLE, &why);
    };
    flag.set();
    let events = frames(api.source.subscribe(subscribed), last_event_id(&headers), api.stop).map(
        move |bytes| {
            // Released with the stream.
            let _ = &permit;
            bytes
        },
    );
    let headers =
        [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    (headers, Body::from_stream(events)).into_response()
}

/// The last event that a reconnecting client has received.
fn last_event_id(headers: &HeaderMap) -> Option<u64> {
    headers.get("last-event-id")?.to_str().ok()?.parse().ok()
}

/// The frame for missing events, with their number where it is known.
fn lost(count: Option<u64>) -> String {
    let count = count.map(|count| format!("\"lost\":{count}")).unwrap_or_default();
    format!("event: lost\ndata: {{{count}}}\n\n")
}

/// The frames for a client whose last event is `last`, until `stop` is closed.
fn frames(
    subscriber: Subscriber,
    last: Option<u64>,
    stop: watch::Receiver<()>,
) -> impl Stream<Item = io::Result<Bytes>> {
    // The first line is sent at once, so that the client sees its request accepted.
    let mut greeting = ": ghostport\n\n".to_owned();
    match last.map(|last| subscriber.missed_since(last)) {
        None | Some(Some(0)) => {}
        Some(missed) => greeting.push_str(&lost(missed)),
    }
    let greeting = stream::once(async { Ok(Bytes::from(greeting)) });
    let events = stream::unfold((subscriber, stop), |(mut subscriber, mut stop)| async {
        let received = tokio::select! {
            // Events from before the stop are sent first.
            biased;
            received = timeout(KEEP_ALIVE, subscriber.next()) => received,
            _ = stop.changed() => return None,
        };
        let text = match received {
            Err(_) => ": still here\n\n".to_owned(),
            Ok(Ok(NumberedEvent { number, line })) => {
                // The line ends with a line feed, and the empty line after it ends the message.
                format!("id: {number}\ndata: {}\n", line.as_line())
            }
            Ok(Err(RecvError::Lagged(count))) => lost(Some(count)),
            Ok(Err(RecvError::Closed)) => return None,
        };
        Some((Ok(Bytes::from(text)), (subscriber, stop)))
    });
    greeting.chain(events)
}
