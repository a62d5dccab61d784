//! Time limits and number of connections.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::watch,
    time::timeout,
};

use super::support::{Server, address_of, state};
use crate::web::{
    bind,
    connection::{HEAD_LIMIT, LAST_ANSWER_LIMIT, MAX_CONNECTIONS},
    serve,
};

#[tokio::test]
async fn garbage_and_huge_heads_are_refused() {
    let server = Server::of_text("").await;
    let huge = [b"GET / HTTP/1.1\r\nX: ".as_slice(), &[b'a'; 1 << 20]].concat();
    for bytes in [&b"\x16\x03\x01\x02\x00\x01\r\n\r\n"[..], b"GET\r\n\r\n", &huge] {
        let answer = server.exchange(bytes).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    assert!(server.get("/healthz").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let server = Server::of_text("a_total 1\n").await;
    let requests = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n\
        GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answers = server.exchange(requests).await;
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 2, "{answers}");
    assert!(answers.ends_with("a_total 1\n"));
}

#[tokio::test]
async fn answers_a_client_that_sends_no_more() {
    let slow = || {
        std::thread::sleep(Duration::from_millis(200));
        Ok(vec!["a_total 1\n".to_owned()])
    };
    let server = Server::start(Arc::new(slow)).await;
    let mut client = TcpStream::connect(server.address).await.unwrap();
    client.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    client.shutdown().await.unwrap();
    let mut answer = String::new();
    timeout(HEAD_LIMIT, client.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("a_total 1\n"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_client_is_cut_off() {
    let server = Server::of_text("").await;
    let start = tokio::time::Instant::now();
    server.exchange(b"GET / HTTP/1.1\r\nX: ").await;
    let waited = start.elapsed();
    assert!(waited >= HEAD_LIMIT && waited < HEAD_LIMIT * 2, "{waited:?}");
}

#[tokio::test]
async fn connections_beyond_the_limit_wait() {
    let server = Server::of_text("").await;
    let mut silent = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    let waits = timeout(Duration::from_millis(300), server.get("/healthz")).await;
    assert!(waits.is_err(), "more connections than allowed are served");
    let served = timeout(HEAD_LIMIT / 2, server.get("/healthz")).await;
    assert!(served.unwrap().starts_with("HTTP/1.1 200"), "the later half is sent away soon");
    drop(silent);
}

#[tokio::test]
async fn stopping_does_not_wait_for_idle_clients() {
    let server = Server::of_text("").await;
    let idle = TcpStream::connect(server.address).await.unwrap();
    assert!(server.get("/healthz").await.starts_with("HTTP/1.1 200"));
    let start = Instant::now();
    drop(server.stop);
    timeout(Duration::from_secs(5), server.task).await.unwrap().unwrap();
    assert!(start.elapsed() < Duration::from_secs(5));
    drop(idle);
}

#[tokio::test]
async fn stopping_does_not_wait_for_clients_that_do_not_read() {
    let server = Server::start(Arc::new(|| Ok(vec!["x".repeat(64 << 20)]))).await;
    let mut stalled = TcpStream::connect(server.address).await.unwrap();
    stalled.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    stalled.readable().await.unwrap();
    let start = Instant::now();
    drop(server.stop);
    timeout(LAST_ANSWER_LIMIT * 3, server.task).await.unwrap().unwrap();
    assert!(start.elapsed() >= LAST_ANSWER_LIMIT, "the answer under way had its time");
}

#[tokio::test]
async fn a_listener_without_clients_takes_no_slot() {
    let listeners = bind(&["127.0.0.1:0".parse().unwrap(); 3]).await.unwrap();
    let addresses: Vec<SocketAddr> = listeners.iter().map(address_of).collect();
    let (_stop, stopped) = watch::channel(());
    let state = state(Arc::new(|| Ok(Vec::new())));
    tokio::spawn(serve(listeners, state, stopped));
    let mut silent = Vec::new();
    for _ in 0..MAX_CONNECTIONS - 1 {
        silent.push(TcpStream::connect(addresses[0]).await.unwrap());
    }
    let mut last = TcpStream::connect(addresses[1]).await.unwrap();
    last.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    timeout(HEAD_LIMIT / 2, last.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
}
