//! Reads from an agent: ports and counters periodically, histories of the ports that are shown, events
//! as they happen.

use std::{collections::VecDeque, time::Duration};

use anyhow::Result;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep},
};

use super::{counts, model::Look};
use crate::api::{
    agent::AgentFacts,
    client::Stream,
    event::Events,
    history::History,
    listener::Listeners,
    server::Server,
    talker::{PortTalkers, Talkers},
};

/// Time between two requests for ports and counters.
const PERIOD: Duration = Duration::from_secs(1);

/// The same for histories, of which each has some kilobytes.
const HISTORY_PERIOD: Duration = Duration::from_secs(10);

/// With tens of thousands of ports an answer takes long. The time between two requests is at least
/// this many times as long, so that the agent is not kept busy.
const PAUSE_FACTOR: u32 = 5;

/// Time before the stream of events is opened again after it has ended.
const RETRY: Duration = Duration::from_secs(2);

/// Size limit of one event, bytes. Events have some thousand.
const MAX_EVENT: usize = 1 << 20;

/// What the feed delivers.
#[derive(Debug)]
pub(super) enum News {
    Look(Box<Look>),
    History(History),
    Talkers(Vec<PortTalkers>),
    Listeners(Listeners),
    /// One line of JSON.
    Event(String),
    Trouble(String),
}

/// Message for a missing agent.
pub(super) fn no_agent(server: &Server) -> String {
    format!(
        "no agent answers at {}: `ghostport run` starts one, and asking takes its user or group, or \
         root",
        server.name()
    )
}

/// The ports and their counters; `None` where no agent runs, or none that this user may ask.
pub(super) async fn ask(server: &Server) -> Result<Option<Look>> {
    let Some(ports) = server.ports().await? else { return Ok(None) };
    let Some(text) = server.ask_text("/metrics").await? else { return Ok(None) };
    // An agent of an earlier version has no such route.
    let agent = server.ask::<AgentFacts>("/api/v1/agent").await.ok().flatten();
    Ok(Some(Look { ports, counts: counts::parse(&text), agent }))
}

/// Delivers ports and counters until the receiver is dropped.
pub(super) async fn poll(server: Server, news: mpsc::Sender<News>) {
    loop {
        let began = Instant::now();
        let found = match ask(&server).await {
            Ok(Some(look)) => News::Look(Box::new(look)),
            Ok(None) => News::Trouble(no_agent(&server)),
            Err(error) => News::Trouble(format!("{error:#}")),
        };
        let pause = PERIOD.max(began.elapsed() * PAUSE_FACTOR);
        if news.send(found).await.is_err() {
            return;
        }
        sleep(pause).await;
    }
}

/// Delivers the histories of the ports that are `wanted`, the talkers and the listeners, until the
/// receiver is dropped.
pub(super) async fn look_back(
    server: Server,
    mut wanted: watch::Receiver<Vec<u16>>,
    news: mpsc::Sender<News>,
) {
    while !news.is_closed() {
        let ports = wanted.borrow_and_update().clone();
        for port in ports {
            let path = format!("/api/v1/ports/{port}/history");
            // A missing one is asked for again.
            if let Ok(Some(history)) = server.ask::<History>(&path).await {
                let _ = news.send(News::History(history)).await;
            }
        }
        if let Ok(Some(talkers)) = server.ask::<Talkers>("/api/v1/talkers?limit=8").await {
            let _ = news.send(News::Talkers(talkers.ports)).await;
        }
        // An agent of an earlier version has no such route.
        if let Ok(Some(listeners)) = server.ask::<Listeners>("/api/v1/listeners").await {
            let _ = news.send(News::Listeners(listeners)).await;
        }
        tokio::select! {
            () = sleep(HISTORY_PERIOD) => {}
            changed = wanted.changed() => if changed.is_err() { return },
        }
    }
}

/// Delivers the last stored events, and then those that happen.
pub(super) async fn follow(server: Server, news: mpsc::Sender<News>) {
    let mut seen = SeenEvents::default();
    while !news.is_closed() {
        // The stream is opened first: an event of that moment is in both, and delivered once.
        if let Ok(Some(stream)) = server.open("/api/v1/events/stream").await {
            for event in stored(&server).await {
                seen.deliver(event, &news).await;
            }
            deliver_stream(stream, &news, &mut seen).await;
        }
        sleep(RETRY).await;
    }
}

/// The events that were stored last; none where the agent has no store.
async fn stored(server: &Server) -> Vec<String> {
    let answer = server.ask::<Events>("/api/v1/events?limit=200").await;
    let events = answer.ok().flatten().map(|answer| answer.events).unwrap_or_default();
    events.into_iter().map(|event| event.get().to_owned()).collect()
}

/// Delivers the events of a stream until it ends or the receiver is dropped.
async fn deliver_stream(mut stream: Stream, news: &mpsc::Sender<News>, seen: &mut SeenEvents) {
    let mut parts = Parts::default();
    while let Some(bytes) = stream.next().await {
        for event in parts.take(&bytes) {
            if !seen.deliver(event, news).await {
                return;
            }
        }
    }
}

/// The events that were delivered last, so that none is delivered twice.
#[derive(Debug, Default)]
struct SeenEvents(VecDeque<String>);

impl SeenEvents {
    /// More than the history that is asked for.
    const LENGTH: usize = 400;

    /// Delivers an event unless it was delivered before. `false` if the receiver is dropped.
    async fn deliver(&mut self, event: String, news: &mpsc::Sender<News>) -> bool {
        if self.0.contains(&event) {
            return true;
        }
        if self.0.len() >= Self::LENGTH {
            self.0.pop_front();
        }
        self.0.push_back(event.clone());
        news.send(News::Event(event)).await.is_ok()
    }
}

/// Incomplete server-sent events: a chunk may end anywhere.
#[derive(Debug, Default)]
struct Parts(Vec<u8>);

impl Parts {
    /// The data of the events that `bytes` complete. Those with an event type are not the host's.
    fn take(&mut self, bytes: &[u8]) -> Vec<String> {
        self.0.extend_from_slice(bytes);
        let mut events = Vec::new();
        while let Some(end) = self.0.windows(2).position(|pair| pair == b"\n\n") {
            let event: Vec<u8> = self.0.drain(..end + 2).collect();
            let text = String::from_utf8_lossy(&event);
            let is_named = text.lines().any(|line| line.starts_with("event:"));
            let data = text.lines().find_map(|line| line.strip_prefix("data: "));
            events.extend(data.filter(|_| !is_named).map(str::to_owned));
        }
        if self.0.len() > MAX_EVENT {
            self.0.clear();
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_event_is_delivered_once() {
        let (news, mut receiver) = mpsc::channel(8);
        let mut seen = SeenEvents::default();
        for event in ["a", "b", "a", "c"] {
            assert!(seen.deliver(event.to_owned(), &news).await);
        }
        drop(news);
        let mut events = Vec::new();
        while let Some(News::Event(event)) = receiver.recv().await {
            events.push(event);
        }
        assert_eq!(events, ["a", "b", "c"]);
    }

    #[test]
    fn events_are_joined_from_chunks() {
        let stream = ": ghostport\n\nid: 7\ndata: {\"a\":1}\n\nevent: lost\ndata: {\"lost\":3}\n\n\
                      id: 8\ndata: {\"b\":2}\n\n: still here\n\n";
        for size in [1, 2, 7, stream.len()] {
            let mut parts = Parts::default();
            let events: Vec<String> =
                stream.as_bytes().chunks(size).flat_map(|piece| parts.take(piece)).collect();
            assert_eq!(events, [r#"{"a":1}"#, r#"{"b":2}"#], "{size} at a time");
        }
    }

    #[test]
    fn an_event_without_end_is_dropped() {
        let mut parts = Parts::default();
        assert!(parts.take(&vec![b'x'; MAX_EVENT + 1]).is_empty());
        assert!(parts.0.is_empty());
    }
}
