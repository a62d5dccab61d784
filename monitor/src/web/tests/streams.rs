//! Streams of events.

use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::sleep,
};

use super::support::Server;
use crate::web::{
    api::MAX_STREAMS,
    connection::{CONNECTION_LIMIT, LAST_ANSWER_LIMIT},
};

#[tokio::test]
async fn events_are_streamed_as_they_happen() {
    let server = Server::of_text("").await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = b"GET /api/v1/events/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut received = String::new();
    while !received.contains("id: 7\ndata: {\"event.name\":\"ghostport.bind\"}\n\n") {
        let mut bytes = [0; 512];
        let len = stream.read(&mut bytes).await.unwrap();
        assert_ne!(len, 0, "{received}");
        received.push_str(std::str::from_utf8(&bytes[..len]).unwrap());
    }
    assert!(received.contains("content-type: text/event-stream\r\n"), "{received}");
}

#[tokio::test]
async fn a_client_may_ask_for_every_event() {
    let server = Server::of_text("").await;
    let answers = [
        ("every", "ghostport.identified"),
        ("every=true", "ghostport.identified"),
        ("every=false", "ghostport.bind"),
        ("every=7", "400 Bad Request"),
        ("each", "400 Bad Request"),
    ];
    for (query, expected) in answers {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let path = format!("/api/v1/events/stream?{query}");
        let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut received = String::new();
        while !received.contains(expected) {
            let mut bytes = [0; 512];
            let len = stream.read(&mut bytes).await.unwrap();
            assert_ne!(len, 0, "{query}: {received}");
            received.push_str(std::str::from_utf8(&bytes[..len]).unwrap());
        }
    }
}

#[tokio::test]
async fn a_reconnecting_client_learns_what_it_missed() {
    let server = Server::of_text("").await;
    // Each of them gets one event, from number 7 on.
    for _ in 0..3 {
        follow(&server, |received| received.contains("id: ")).await;
    }
    let cases = [
        ("7", Some("event: lost\ndata: {\"lost\":2}\n\nid: 10\n")),
        ("10", None),
        ("6", Some("event: lost\ndata: {}\n\nid: 12\n")),
        ("x", None),
    ];
    for (last, lost) in cases {
        let header = format!("Last-Event-ID: {last}\r\n");
        let (_, received) =
            follow_with(&server, &header, |received| received.contains("id: ")).await;
        let chunks: String = received.split('\n').filter(|line| !line.ends_with('\r')).collect();
        let expected = lost.map(|lost| lost.replace('\n', ""));
        match expected {
            Some(expected) => assert!(chunks.contains(&expected), "{last}: {received:?}"),
            None => assert!(!chunks.contains("lost"), "{last}: {received:?}"),
        }
    }
}

/// Follows until the stream has received `enough`, or has ended.
async fn follow(server: &Server, enough: impl Fn(&str) -> bool) -> (TcpStream, String) {
    follow_with(server, "", enough).await
}

/// The same with a further header line.
async fn follow_with(
    server: &Server,
    header: &str,
    enough: impl Fn(&str) -> bool,
) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = format!("GET /api/v1/events/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n{header}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut received = String::new();
    while !enough(&received) {
        let mut bytes = [0; 512];
        let len = stream.read(&mut bytes).await.unwrap();
        if len == 0 {
            break;
        }
        received.push_str(std::str::from_utf8(&bytes[..len]).unwrap());
    }
    (stream, received)
}

#[tokio::test(start_paused = true)]
async fn a_stream_has_no_time_limit() {
    let server = Server::of_text("").await;
    let start = tokio::time::Instant::now();
    let silences = |received: &str| received.matches("still here").count();
    let (_, received) = follow(&server, |received| silences(received) >= 30).await;
    assert_eq!(silences(&received), 30, "after {:?}", start.elapsed());
    assert!(start.elapsed() > CONNECTION_LIMIT);
}

#[tokio::test]
async fn streams_leave_connections_for_other_requests() {
    let server = Server::of_text("").await;
    let mut followers = Vec::new();
    for _ in 0..MAX_STREAMS {
        followers.push(follow(&server, |received| received.contains("ghostport.bind")).await.0);
    }
    let (_, refused) = follow(&server, |received| received.contains("follow already")).await;
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    drop(followers.pop());
    let deadline = Instant::now() + Duration::from_secs(10);
    while !follow(&server, |received| received.contains("\r\n\r\n"))
        .await
        .1
        .starts_with("HTTP/1.1 200")
    {
        assert!(Instant::now() < deadline, "a permit is not released with its client");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_stream_ends_with_the_agent() {
    let server = Server::of_text("").await;
    let (mut stream, _) = follow(&server, |received| received.contains("ghostport.bind")).await;
    let start = Instant::now();
    drop(server.stop);
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert!(rest.ends_with("0\r\n\r\n"), "not cut off: {rest:?}");
    server.task.await.unwrap();
    assert!(start.elapsed() < LAST_ANSWER_LIMIT);
}
