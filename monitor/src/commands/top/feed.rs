//! What the agent tells over its Unix socket: ports and counters again and again, events as they
//! come.

use std::{collections::VecDeque, time::Duration};

use anyhow::Result;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

use super::counts::{self, Counts};
use crate::api::{
    client::{self, Stream},
    event::Events,
    port::Port,
};

/// Time between two looks.
const PERIOD: Duration = Duration::from_secs(1);

/// Of tens of thousands of ports an answer takes its time: this many times as long passes between
/// two, so that looking does not keep the agent busy.
const PAUSE_FACTOR: u32 = 5;

/// Time before an agent that has gone is asked for its events again.
const RETRY: Duration = Duration::from_secs(2);

/// Bytes of one event, at most; the agent writes some thousand.
const MAX_EVENT: usize = 1 << 20;

/// Why nothing can be shown.
pub(super) const NO_AGENT: &str = "no agent answers at /run/ghostport/api.sock: `ghostport run` \
                                   starts one, and asking takes its user or group, or root";

/// What is new.
#[derive(Debug)]
pub(super) enum News {
    Look(Vec<Port>, Counts),
    /// One line of JSON.
    Event(String),
    Trouble(String),
}

/// The ports and what was counted of them; `None` where no agent runs, or none that answers us.
pub(super) async fn ask() -> Result<Option<(Vec<Port>, Counts)>> {
    let Some(ports) = client::ports().await? else { return Ok(None) };
    let metrics = client::ask_text("/metrics").await?;
    Ok(metrics.map(|text| (ports, counts::parse(&text))))
}

/// Looks, as long as somebody wants to know.
pub(super) async fn look(news: mpsc::Sender<News>) {
    loop {
        let began = Instant::now();
        let found = match ask().await {
            Ok(Some((ports, counts))) => News::Look(ports, counts),
            Ok(None) => News::Trouble(NO_AGENT.to_owned()),
            Err(error) => News::Trouble(format!("{error:#}")),
        };
        let pause = PERIOD.max(began.elapsed() * PAUSE_FACTOR);
        if news.send(found).await.is_err() {
            return;
        }
        sleep(pause).await;
    }
}

/// Tells what was stored last, and then what happens.
pub(super) async fn follow(news: mpsc::Sender<News>) {
    let mut told = SeenEvents::default();
    while !news.is_closed() {
        // The stream first: what happens while the history is read is in both, and told once.
        if let Ok(Some(stream)) = client::open("/api/v1/events/stream").await {
            for event in history().await {
                told.pass_on(event, &news).await;
            }
            pass_on(stream, &news, &mut told).await;
        }
        sleep(RETRY).await;
    }
}

/// Events that were stored last. An agent without a store has none, and says so in its log.
async fn history() -> Vec<String> {
    let answer = client::ask::<Events>("/api/v1/events?limit=200").await;
    let events = answer.ok().flatten().map(|answer| answer.events).unwrap_or_default();
    events.into_iter().map(|event| event.get().to_owned()).collect()
}

/// Passes on the events of a stream until it ends, or nobody wants them.
async fn pass_on(mut stream: Stream, news: &mpsc::Sender<News>, told: &mut SeenEvents) {
    let mut parts = Parts::default();
    while let Some(bytes) = stream.next().await {
        for event in parts.take(&bytes) {
            if !told.pass_on(event, news).await {
                return;
            }
        }
    }
}

/// The events that were told last, so that none is told twice.
#[derive(Debug, Default)]
struct SeenEvents(VecDeque<String>);

impl SeenEvents {
    /// More than the history has.
    const LENGTH: usize = 400;

    /// Tells an event that is new. `false` if nobody wants it.
    async fn pass_on(&mut self, event: String, news: &mpsc::Sender<News>) -> bool {
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

/// Server-sent events on their way in: a part may end anywhere.
#[derive(Debug, Default)]
struct Parts(Vec<u8>);

impl Parts {
    /// The data of the events that `bytes` complete. What has a name is not one of the host's.
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
    async fn what_comes_twice_is_told_once() {
        let (news, mut receiver) = mpsc::channel(8);
        let mut told = SeenEvents::default();
        for event in ["a", "b", "a", "c"] {
            assert!(told.pass_on(event.to_owned(), &news).await);
        }
        drop(news);
        let mut events = Vec::new();
        while let Some(News::Event(event)) = receiver.recv().await {
            events.push(event);
        }
        assert_eq!(events, ["a", "b", "c"]);
    }

    #[test]
    fn events_come_in_pieces() {
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
    fn what_never_ends_is_not_kept() {
        let mut parts = Parts::default();
        assert!(parts.take(&vec![b'x'; MAX_EVENT + 1]).is_empty());
        assert!(parts.0.is_empty());
    }
}
