//! `/api/v1`: what the agent knows, with the details that no metric may carry.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use axum::{
    Extension, Json, Router,
    body::{Body, Bytes},
    extract::{Path, Query, Request, State as AxumState, rejection::QueryRejection},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use futures_util::{Stream, stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    task::spawn_blocking,
    time::timeout,
};

use super::guard::{self, Door};
use crate::{
    config::{WebDetails, quantity},
    event::EventName,
    kernel::hooks::HookStatus,
    port_view::PortView,
    store::Filter,
};

/// Silence after which a stream of events says that it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Events of one answer, unless fewer are asked for.
const MAX_EVENTS: u32 = 1000;

/// Where the answers come from.
pub trait Source: Send + Sync {
    /// Who may read over TCP.
    fn details(&self) -> WebDetails;
    /// Every watched port, or the one that is named.
    fn ports(&self, only: Option<u16>) -> Result<Vec<PortView>>;
    /// Every hook.
    fn hooks(&self) -> Result<Vec<HookStatus>>;
    /// Stored events, newest last, each as the JSON it was told as.
    fn events(&self, filter: &Filter) -> Result<Vec<String>>;
    /// Events from now on.
    fn follow(&self) -> Receiver<Arc<str>>;
}

/// Which events are wanted, as it is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct EventQuery {
    /// Not older than this; `24h`.
    since: Option<String>,
    port: Option<u16>,
    /// `bind` and the like.
    kind: Option<String>,
    /// So many at most, the newest.
    limit: Option<u32>,
}

impl EventQuery {
    /// What it means, or what is wrong with it.
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
        Ok(Filter {
            since: since.map(|since| now.checked_sub(since).unwrap_or(Timestamp::MIN)),
            port: self.port,
            kind: kind.transpose()?,
            limit: Some(self.limit.unwrap_or(MAX_EVENTS).min(MAX_EVENTS)),
        })
    }
}

/// The shared source.
pub type SharedSource = Arc<dyn Source>;

/// The routes, each behind the guard.
pub fn router(source: SharedSource) -> Router {
    Router::new()
        .route("/api/v1/ports", get(ports))
        .route("/api/v1/ports/{port}", get(port))
        .route("/api/v1/events", get(events))
        .route("/api/v1/events/stream", get(event_stream))
        .route("/api/v1/hooks", get(hooks))
        .layer(middleware::from_fn_with_state(Arc::clone(&source), admit))
        .with_state(source)
}

/// Lets a request in, or says why not.
async fn admit(
    AxumState(source): AxumState<SharedSource>,
    Extension(door): Extension<Door>,
    request: Request,
    next: Next,
) -> Response {
    match guard::refusal(source.details(), door, request.uri(), request.headers()) {
        None => next.run(request).await,
        Some(why) => problem(StatusCode::FORBIDDEN, why),
    }
}

async fn ports(AxumState(source): AxumState<SharedSource>) -> Response {
    answer("ports", move || source.ports(None)).await
}

async fn port(AxumState(source): AxumState<SharedSource>, Path(port): Path<String>) -> Response {
    let Some(number) = port.parse::<u16>().ok().filter(|number| *number != 0) else {
        return problem(StatusCode::BAD_REQUEST, &format!("{port:?} is no port: 1 to 65535"));
    };
    let found = spawn_blocking(move || source.ports(Some(number))).await;
    match found.map_err(anyhow::Error::from).flatten() {
        Err(error) => failure(&error),
        Ok(ports) => match ports.into_iter().next() {
            Some(view) => Json(view).into_response(),
            None => problem(StatusCode::NOT_FOUND, &format!("port {number} is not watched")),
        },
    }
}

async fn hooks(AxumState(source): AxumState<SharedSource>) -> Response {
    answer("hooks", move || source.hooks()).await
}

async fn events(
    AxumState(source): AxumState<SharedSource>,
    query: Result<Query<EventQuery>, QueryRejection>,
) -> Response {
    let filter = match query {
        Ok(Query(query)) => query.filter(Timestamp::now()),
        Err(rejection) => Err(rejection.body_text()),
    };
    let filter = match filter {
        Ok(filter) => filter,
        Err(why) => return problem(StatusCode::BAD_REQUEST, &why),
    };
    let found = spawn_blocking(move || source.events(&filter)).await;
    match found.map_err(anyhow::Error::from).flatten() {
        Err(error) => failure(&error),
        // They are JSON already.
        Ok(lines) => {
            let body = format!("{{\"events\":[{}]}}", lines.join(","));
            ([(header::CONTENT_TYPE, "application/json")], body).into_response()
        }
    }
}

/// Server-sent events, <https://html.spec.whatwg.org/multipage/server-sent-events.html>.
async fn event_stream(AxumState(source): AxumState<SharedSource>) -> Response {
    let body = Body::from_stream(sent(source.follow()));
    let headers =
        [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    (headers, body).into_response()
}

fn sent(follower: Receiver<Arc<str>>) -> impl Stream<Item = Result<Bytes, std::io::Error>> {
    // The first line goes at once: whoever follows knows that it is heard.
    let greeting = stream::once(async { Ok(Bytes::from_static(b": ghostport\n\n")) });
    let events = stream::unfold(follower, |mut follower| async {
        let text = match timeout(KEEP_ALIVE, follower.recv()).await {
            Err(_) => ": still here\n\n".to_owned(),
            Ok(Ok(line)) => format!("data: {line}\n\n"),
            Ok(Err(RecvError::Lagged(lost))) => {
                format!("event: lost\ndata: {{\"lost\":{lost}}}\n\n")
            }
            Ok(Err(RecvError::Closed)) => return None,
        };
        Some((Ok(Bytes::from(text)), follower))
    });
    futures_util::StreamExt::chain(greeting, events)
}

/// `{"NAME": […]}`.
async fn answer<T: Serialize + Send + 'static>(
    name: &'static str,
    make: impl FnOnce() -> Result<Vec<T>> + Send + 'static,
) -> Response {
    match spawn_blocking(make).await.map_err(anyhow::Error::from).flatten() {
        Ok(items) => Json(json!({ name: items })).into_response(),
        Err(error) => failure(&error),
    }
}

fn failure(error: &anyhow::Error) -> Response {
    tracing::error!("a request cannot be answered: {error:#}");
    problem(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error:#}"))
}

fn problem(status: StatusCode, why: &str) -> Response {
    (status, Json(json!({ "error": why }))).into_response()
}
