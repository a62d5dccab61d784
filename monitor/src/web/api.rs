//! `/api/v1`: what the agent knows, with the details that no metric may carry.

use std::{
    num::NonZeroU16,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::Result;
use axum::{
    Extension, Json, Router,
    body::{Body, Bytes},
    extract::{Path, Query, Request, State as AxumState, rejection::QueryRejection},
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{any, get},
};
use futures_util::{Stream, StreamExt as _, stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{Semaphore, broadcast::error::RecvError, watch},
    task::spawn_blocking,
    time::timeout,
};

use super::{
    guard::{self, Authenticated, Endpoint},
    page,
    talkers::{self, PortTalkers},
};
use crate::{
    api::port::PortView,
    config::{WebDetails, quantity},
    event::EventName,
    event::broadcast::{Follower, Told},
    store::{Filter, ReadError},
};
use monitor_kernel::{hooks::HookStatus, snapshot::PortSources, sources::TalkerFacts};

/// Silence after which a stream of events says that it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Whoever follows keeps a connection for good: others are to have most of them.
pub(super) const MAX_FOLLOWERS: usize = 32;

/// Events of one answer, unless fewer are asked for.
const MAX_EVENTS: u32 = 1000;

/// Talkers of a port and protocol, unless another number is asked for.
const DEFAULT_TALKERS: usize = 10;

/// Where the answers come from.
pub trait Source: Send + Sync {
    /// Who may read over TCP.
    fn details(&self) -> WebDetails;
    /// Every watched port, or the one that is named.
    fn ports(&self, only: Option<u16>) -> Result<Vec<PortView>>;
    /// Who talks on the watched ports.
    fn talkers(&self) -> Result<Talkers>;
    /// Every hook.
    fn hooks(&self) -> Result<Vec<HookStatus>>;
    /// Stored events, newest last, each as the JSON it was told as.
    fn events(&self, filter: &Filter) -> Result<Vec<String>>;
    /// Events from now on.
    fn follow(&self) -> Follower;
}

/// Who talks on the watched ports, as the kernel side has noted it.
#[derive(Clone, Debug, Default)]
pub struct Talkers {
    /// How many there are.
    pub sources: Vec<PortSources>,
    /// The most talkative, most packets first.
    pub talkers: Vec<TalkerFacts>,
}

/// Which talkers are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct TalkerQuery {
    port: Option<NonZeroU16>,
    /// So many of each port and protocol at most.
    limit: Option<usize>,
}

/// Which events are wanted, as it is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct EventQuery {
    /// Not older than this; `24h`.
    since: Option<String>,
    port: Option<NonZeroU16>,
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
            port: self.port.map(NonZeroU16::get),
            kind: kind.transpose()?,
            limit: Some(self.limit.unwrap_or(MAX_EVENTS).min(MAX_EVENTS)),
        })
    }
}

/// The shared source.
pub type SharedSource = Arc<dyn Source>;

/// What the handlers share.
#[derive(Clone)]
struct Api {
    source: SharedSource,
    /// One answer is made at a time: of thousands of ports it takes memory.
    turn: Arc<Semaphore>,
    /// Places for those who follow.
    places: Arc<Semaphore>,
    /// Closed when the agent ends.
    stop: watch::Receiver<()>,
}

/// Whether a connection is used to follow events, and so has no end of its own.
#[derive(Clone, Debug, Default)]
pub(super) struct Following(Arc<AtomicBool>);

impl Following {
    pub(super) fn is_on(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// The routes and the live page, each behind the guard, until `stop` is closed.
pub fn router(source: SharedSource, stop: watch::Receiver<()>) -> Router {
    let api = Api {
        source: Arc::clone(&source),
        turn: Arc::new(Semaphore::new(1)),
        places: Arc::new(Semaphore::new(MAX_FOLLOWERS)),
        stop,
    };
    Router::new()
        .route("/api/v1/ports", get(ports))
        .route("/api/v1/ports/{port}", get(port))
        .route("/api/v1/events", get(events))
        .route("/api/v1/events/stream", get(event_stream))
        .route("/api/v1/talkers", get(talkers))
        .route("/api/v1/hooks", get(hooks))
        .route("/api/{*rest}", any(unknown))
        .route("/", get(page::page))
        .method_not_allowed_fallback(async || {
            problem(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered here")
        })
        .layer(middleware::from_fn_with_state(source, admit))
        .with_state(api)
}

/// Lets a request in, or says why not.
async fn admit(
    AxumState(source): AxumState<SharedSource>,
    Extension(endpoint): Extension<Endpoint>,
    Extension(sender): Extension<Authenticated>,
    request: Request,
    next: Next,
) -> Response {
    match guard::refusal(source.details(), endpoint, sender, request.uri(), request.headers()) {
        None => next.run(request).await,
        Some(why) => problem(StatusCode::FORBIDDEN, why),
    }
}

async fn ports(AxumState(api): AxumState<Api>) -> Response {
    #[derive(Serialize)]
    struct Answer {
        ports: Vec<PortView>,
    }
    answer(&api, |source| Ok(Some(json(&Answer { ports: source.ports(None)? })?))).await
}

async fn unknown() -> Response {
    problem(StatusCode::NOT_FOUND, "there is nothing here: docs/reference/http.md lists the routes")
}

/// What a query should have been, without the words of the library.
fn what_is_wrong(rejection: &QueryRejection) -> String {
    let text = rejection.body_text();
    text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text).to_owned()
}

async fn port(AxumState(api): AxumState<Api>, Path(port): Path<String>) -> Response {
    let Some(number) = port.parse::<u16>().ok().filter(|number| *number != 0) else {
        return problem(StatusCode::BAD_REQUEST, &format!("{port:?} is no port: 1 to 65535"));
    };
    answer(&api, move |source| source.ports(Some(number))?.first().map(json).transpose()).await
}

async fn talkers(
    AxumState(api): AxumState<Api>,
    query: Result<Query<TalkerQuery>, QueryRejection>,
) -> Response {
    #[derive(Serialize)]
    struct Answer {
        ports: Vec<PortTalkers>,
    }
    let Query(TalkerQuery { port, limit }) = match query {
        Ok(query) => query,
        Err(rejection) => return problem(StatusCode::BAD_REQUEST, &what_is_wrong(&rejection)),
    };
    let limit = limit.unwrap_or(DEFAULT_TALKERS);
    answer(&api, move |source| {
        let ports = talkers::by_port(&source.talkers()?, port.map(NonZeroU16::get), limit);
        Ok(Some(json(&Answer { ports })?))
    })
    .await
}

async fn hooks(AxumState(api): AxumState<Api>) -> Response {
    #[derive(Serialize)]
    struct Answer {
        hooks: Vec<HookStatus>,
    }
    answer(&api, |source| Ok(Some(json(&Answer { hooks: source.hooks()? })?))).await
}

async fn events(
    AxumState(api): AxumState<Api>,
    query: Result<Query<EventQuery>, QueryRejection>,
) -> Response {
    let filter = match query {
        Ok(Query(query)) => query.filter(Timestamp::now()),
        Err(rejection) => Err(what_is_wrong(&rejection)),
    };
    let filter = match filter {
        Ok(filter) => filter,
        Err(why) => return problem(StatusCode::BAD_REQUEST, &why),
    };
    // They are JSON already.
    let list = |lines: Vec<String>| format!("{{\"events\":[{}]}}", lines.join(",")).into_bytes();
    answer(&api, move |source| Ok(Some(list(source.events(&filter)?)))).await
}

/// Server-sent events, <https://html.spec.whatwg.org/multipage/server-sent-events.html>.
async fn event_stream(
    AxumState(api): AxumState<Api>,
    Extension(following): Extension<Following>,
    headers: HeaderMap,
) -> Response {
    let Ok(place) = api.places.try_acquire_owned() else {
        let why = format!("{MAX_FOLLOWERS} follow already: ask again when one has gone");
        return problem(StatusCode::SERVICE_UNAVAILABLE, &why);
    };
    following.0.store(true, Relaxed);
    let events = sent(api.source.follow(), last_seen(&headers), api.stop).map(move |bytes| {
        // Given back with the stream.
        let _ = &place;
        bytes
    });
    let headers =
        [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    (headers, Body::from_stream(events)).into_response()
}

/// The last event that whoever comes back has seen.
fn last_seen(headers: &HeaderMap) -> Option<u64> {
    headers.get("last-event-id")?.to_str().ok()?.parse().ok()
}

/// Tells that events are missing, and how many where that is known.
fn lost(count: Option<u64>) -> String {
    let count = count.map(|count| format!("\"lost\":{count}")).unwrap_or_default();
    format!("event: lost\ndata: {{{count}}}\n\n")
}

/// What `follower` gets who has seen `last`, until `stop` is closed.
fn sent(
    follower: Follower,
    last: Option<u64>,
    stop: watch::Receiver<()>,
) -> impl Stream<Item = Result<Bytes, std::io::Error>> {
    // The first line goes at once: whoever follows knows that it is heard.
    let mut greeting = ": ghostport\n\n".to_owned();
    match last.map(|last| follower.missed_since(last)) {
        None | Some(Some(0)) => {}
        Some(missed) => greeting.push_str(&lost(missed)),
    }
    let greeting = stream::once(async { Ok(Bytes::from(greeting)) });
    let events = stream::unfold((follower, stop), |(mut follower, mut stop)| async {
        let received = tokio::select! {
            // What was told before the end is sent.
            biased;
            received = timeout(KEEP_ALIVE, follower.next()) => received,
            _ = stop.changed() => return None,
        };
        let text = match received {
            Err(_) => ": still here\n\n".to_owned(),
            Ok(Ok(Told { number, line })) => format!("id: {number}\ndata: {line}\n\n"),
            Ok(Err(RecvError::Lagged(count))) => lost(Some(count)),
            Ok(Err(RecvError::Closed)) => return None,
        };
        Some((Ok(Bytes::from(text)), (follower, stop)))
    });
    greeting.chain(events)
}

/// Makes an answer where nobody waits for it but whoever asked: the runtime has one thread, which
/// empties the ring buffer. `None` is for a port that is not watched.
async fn answer(
    api: &Api,
    make: impl FnOnce(&dyn Source) -> Result<Option<Vec<u8>>> + Send + 'static,
) -> Response {
    let Ok(turn) = Arc::clone(&api.turn).acquire_owned().await else {
        return problem(StatusCode::SERVICE_UNAVAILABLE, "the agent is stopping");
    };
    let source = Arc::clone(&api.source);
    // The turn goes along: it must not end before the work does, when the client has gone away.
    let made = spawn_blocking(move || {
        let made = make(&*source);
        drop(turn);
        made
    });
    match made.await.map_err(anyhow::Error::from).flatten() {
        Ok(Some(body)) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Ok(None) => problem(StatusCode::NOT_FOUND, "this port is not watched"),
        Err(error) if error.is::<ReadError>() => {
            problem(StatusCode::SERVICE_UNAVAILABLE, &format!("{error:#}"))
        }
        Err(error) => failure(&error),
    }
}

fn json(answer: &impl Serialize) -> Result<Vec<u8>> {
    Ok(serde_json::to_vec(answer)?)
}

fn failure(error: &anyhow::Error) -> Response {
    tracing::error!("a request cannot be answered: {error:#}");
    problem(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error:#}"))
}

fn problem(status: StatusCode, why: &str) -> Response {
    (status, Json(serde_json::json!({ "error": why }))).into_response()
}
