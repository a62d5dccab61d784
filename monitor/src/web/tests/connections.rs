//! Time limits and number of connections.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
    sync::watch,
    time::timeout,
};

use super::support::{Server, address_of, state};
use crate::web::{
    Listener, bind,
    connection::{HEAD_LIMIT, LAST_ANSWER_LIMIT},
    serve,
    server::{MAX_CONNECTIONS, MAX_OF_CLIENT},
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
    let slow = |_| {
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

/// Whether the server has closed a connection.
async fn is_closed(stream: &mut TcpStream) -> bool {
    let read = timeout(Duration::from_millis(1), stream.read(&mut [0])).await;
    matches!(read, Ok(Ok(0) | Err(_)))
}

#[tokio::test]
async fn idle_connections_make_room_for_others() {
    let server = Server::of_text("").await;
    let mut silent = Vec::new();
    for _ in 0..2 * MAX_CONNECTIONS {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    for _ in 0..3 {
        let served = timeout(HEAD_LIMIT / 2, server.get("/healthz")).await;
        assert!(served.unwrap().starts_with("HTTP/1.1 200"));
    }
    let mut open = 0;
    for stream in &mut silent {
        open += usize::from(!is_closed(stream).await);
    }
    assert!(open <= MAX_OF_CLIENT, "one user has {open} connections");
    assert!(!is_closed(silent.last_mut().unwrap()).await, "the oldest make room");
}

#[tokio::test]
async fn a_request_in_progress_outlasts_idle_connections() {
    let slow = |_| {
        std::thread::sleep(Duration::from_secs(1));
        Ok(vec!["a_total 1\n".to_owned()])
    };
    let server = Server::start(Arc::new(slow)).await;
    let mut first = TcpStream::connect(server.address).await.unwrap();
    first.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await.unwrap();
    let mut silent = Vec::new();
    for _ in 0..2 * MAX_CONNECTIONS {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    let mut answer = String::new();
    timeout(HEAD_LIMIT, first.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.ends_with("a_total 1\n"), "{answer}");
}

#[tokio::test]
async fn the_unix_socket_has_slots_of_its_own() {
    let path = std::env::temp_dir().join(format!("ghostport-slots-{}.sock", std::process::id()));
    let listeners = [bind(&["127.0.0.1:0".parse().unwrap()]).await.unwrap()];
    let mut listeners: Vec<Listener> = listeners.into_iter().flatten().collect();
    let address = address_of(&listeners[0]);
    listeners.push(Listener::on_socket(&path).unwrap());
    let (_stop, stopped) = watch::channel(());
    tokio::spawn(serve(listeners, state(Arc::new(|_| Ok(Vec::new()))), stopped));
    let mut oldest = UnixStream::connect(&path).await.unwrap();
    oldest.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n").await.unwrap();
    let mut silent = Vec::new();
    for _ in 0..2 * MAX_CONNECTIONS {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    oldest.write_all(b"Connection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    timeout(HEAD_LIMIT / 2, oldest.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
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
    let server = Server::start(Arc::new(|_| Ok(vec!["x".repeat(64 << 20)]))).await;
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
    let state = state(Arc::new(|_| Ok(Vec::new())));
    tokio::spawn(serve(listeners, state, stopped));
    let mut silent = Vec::new();
    for _ in 0..MAX_OF_CLIENT - 1 {
        silent.push(TcpStream::connect(addresses[0]).await.unwrap());
    }
    let mut last = TcpStream::connect(addresses[1]).await.unwrap();
    last.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    timeout(HEAD_LIMIT / 2, last.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
}
