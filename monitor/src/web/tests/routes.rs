//! The routes for monitoring, and the listeners.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::body::Bytes;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
    sync::watch,
    time::{sleep, timeout},
};

use super::support::{Server, state};
use crate::metrics::{Exposition, ExpositionFormat};
use crate::web::{Access, Listener, ROUTES, bind, routes::MAX_LARGE, serve};

/// The answer to `GET /metrics` with these headers, as text up to the body.
async fn metrics_with(headers: &str) -> (String, Vec<u8>) {
    let exposition: Exposition = Arc::new(|format| {
        let name = if format == ExpositionFormat::OpenMetrics { "open" } else { "plain" };
        Ok(vec![format!("{name} 1\n").repeat(1000)])
    });
    let server = Server::start(exposition).await;
    let mut client = TcpStream::connect(server.address).await.unwrap();
    let request =
        format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\n{headers}Connection: close\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    (head, answer[end..].to_vec())
}

#[tokio::test]
async fn open_metrics_is_written_where_it_is_asked_for() {
    let (head, body) =
        metrics_with("Accept: application/openmetrics-text; version=1.0.0\r\n").await;
    let kind = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n";
    assert!(head.contains(kind), "{head}");
    assert!(body.starts_with(b"open 1\n"));
    let (head, body) = metrics_with("").await;
    assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{head}");
    assert!(body.starts_with(b"plain 1\n"));
}

#[tokio::test]
async fn an_answer_is_compressed_where_it_is_asked_for() {
    let (head, body) = metrics_with("Accept-Encoding: gzip\r\n").await;
    assert!(head.contains("content-encoding: gzip\r\n"), "{head}");
    assert!(body.len() < 500, "{} bytes", body.len());
    let (head, body) = metrics_with("Accept-Encoding: gzip;q=0\r\n").await;
    assert!(!head.contains("content-encoding"), "{head}");
    assert_eq!(body, "plain 1\n".repeat(1000).as_bytes());
}

#[tokio::test]
async fn routes_answer_with_their_status() {
    let server = Server::of_text("a_total 1\n").await;
    let metrics = server.get("/metrics").await;
    assert!(metrics.starts_with("HTTP/1.1 200"), "{metrics}");
    assert!(metrics.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    assert!(metrics.ends_with("\r\n\r\na_total 1\n"));
    assert!(server.get("/healthz").await.starts_with("HTTP/1.1 200"));
    server.ready.store(false, Ordering::Relaxed);
    for path in ["/readyz", "/metrics"] {
        assert!(server.get(path).await.starts_with("HTTP/1.1 503"), "{path}");
    }
    server.ready.store(true, Ordering::Relaxed);
    assert!(server.get("/readyz").await.starts_with("HTTP/1.1 200"));
    assert!(server.get("/nothing").await.starts_with("HTTP/1.1 404"));
    assert!(server.get("/../etc/passwd").await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn serves_the_runbook_of_each_alert() {
    let server = Server::of_text("a_total 1\n").await;
    let section = server.get("/runbook/GhostportBindOnDormantPort").await;
    assert!(section.starts_with("HTTP/1.1 200"), "{section}");
    assert!(section.contains("content-type: text/html; charset=utf-8\r\n"), "{section}");
    assert!(
        section.contains("content-security-policy: default-src 'none'; style-src"),
        "{section}"
    );
    assert!(section.contains("<h1>GhostportBindOnDormantPort</h1>"), "{section}");
    assert!(section.contains("<strong>What to do.</strong>"), "{section}");
    let anchor = server.get("/runbook/ghostportbindondormantport").await;
    assert!(anchor.starts_with("HTTP/1.1 200"), "{anchor}");
    let index = server.get("/runbook").await;
    assert!(index.contains("<a href=\"/runbook/GhostportAgentAbsent\">"), "{index}");
    let unknown = server.get("/runbook/%3Cscript%3E").await;
    assert!(unknown.starts_with("HTTP/1.1 404"), "{unknown}");
    assert!(unknown.contains("\nGhostportBindOnDormantPort\n"), "{unknown}");
    assert!(!unknown.contains("script"), "{unknown}");
}

#[tokio::test]
async fn only_get_and_head_are_allowed() {
    let server = Server::of_text("a_total 1\n").await;
    let head = server.exchange(b"HEAD /metrics HTTP/1.0\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.0 200") && head.ends_with("\r\n\r\n"), "{head}");
    let post = b"POST /metrics HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc";
    assert!(server.exchange(post).await.starts_with("HTTP/1.0 405"));
    let post = b"POST /api/v1/ports HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
    let refused = server.exchange(post).await;
    assert!(refused.starts_with("HTTP/1.1 405") && refused.contains("{\"error\":"), "{refused}");
    assert!(refused.to_lowercase().contains("\r\nallow: get,head\r\n"), "{refused}");
}

#[tokio::test]
async fn a_failed_scrape_says_why() {
    let server = Server::start(Arc::new(|_| anyhow::bail!("the map is gone"))).await;
    let answer = server.get("/metrics").await;
    assert!(answer.starts_with("HTTP/1.1 500") && answer.contains("the map is gone"), "{answer}");
}

#[tokio::test]
async fn large_answers_in_flight_are_limited() {
    let server = Server::start(Arc::new(|_| Ok(vec!["x".repeat(64 << 20)]))).await;
    let ask = async || {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.unwrap();
        (stream, status)
    };
    let mut stalled = Vec::new();
    for _ in 0..MAX_LARGE {
        let (stream, status) = ask().await;
        assert_eq!(&status, b"HTTP/1.1 200");
        stalled.push(stream);
    }
    assert_eq!(&ask().await.1, b"HTTP/1.1 503");
    drop(stalled.pop());
    let deadline = Instant::now() + Duration::from_secs(10);
    while &ask().await.1 != b"HTTP/1.1 200" {
        assert!(Instant::now() < deadline, "a permit is not released with its client");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_request_in_progress_is_answered_before_the_end() {
    let server = Server::start(Arc::new(|_| {
        std::thread::sleep(Duration::from_millis(300));
        Ok(vec!["a_total 1\n".to_owned()])
    }))
    .await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    sleep(Duration::from_millis(100)).await;
    drop(server.stop);
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("a_total 1\n"), "{answer}");
    timeout(Duration::from_secs(5), server.task).await.unwrap().unwrap();
    assert!(TcpStream::connect(server.address).await.is_err(), "the listener is closed");
}

#[tokio::test]
async fn expositions_are_made_one_at_a_time() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, highest) = (Arc::clone(&now), Arc::clone(&most));
    let server = Server::start(Arc::new(move |_| {
        highest.fetch_max(counted.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(5));
        counted.fetch_sub(1, Ordering::Relaxed);
        Ok(Vec::new())
    }))
    .await;
    let scrapes = (0..20).map(|_| server.get("/metrics"));
    for answer in futures_util::future::join_all(scrapes).await {
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    assert_eq!(most.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let server = Server::of_text("").await;
    let error = bind(&[server.address]).await.unwrap_err().to_string();
    assert!(error.contains(&server.address.to_string()) && error.contains("--web.listen-address"));
}

#[tokio::test]
async fn the_unix_socket_is_for_user_and_group() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = std::env::temp_dir().join(format!("ghostport-web-{}", std::process::id()));
    let path = folder.join("api.sock");
    // What an earlier agent left is no obstacle.
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(&path, "").unwrap();
    let listener = Listener::on_socket(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    let (stop, stopped) = watch::channel(());
    let state = state(Arc::new(|_| Ok(Vec::new())));
    let task = tokio::spawn(serve(vec![listener], state, stopped));
    let mut stream = UnixStream::connect(&path).await.unwrap();
    let request = b"GET /api/v1/ports HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(Bytes::from(answer).starts_with(b"HTTP/1.1 200"));
    drop(stop);
    task.await.unwrap();
    assert!(!path.exists(), "the socket goes with the agent");
    std::fs::remove_dir_all(&folder).unwrap();
}

/// The status of the answer to a request over loopback; the rest of it is not read.
async fn status_of(server: &Server, path: &str, host: &str) -> String {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.unwrap();
    String::from_utf8_lossy(&head[9..]).into_owned()
}

#[tokio::test]
async fn every_route_of_the_table_is_served_to_the_clients_that_it_names() {
    let server = Server::of_text("a_total 1\n").await;
    for route in ROUTES {
        let path = route.path.replace("{port}", "2948").replace("{name}", "GhostportPortServed");
        let path = path.replace("{*name}", "style.css");
        let trusted = status_of(&server, &path, "127.0.0.1").await;
        assert!(trusted != "404" && trusted != "403", "{path}: {trusted}");
        let other = status_of(&server, &path, "example.org").await;
        assert_eq!(other == "403", route.access != Access::Open, "{path}: {other}");
        // An order, which no GET gives.
        if route.access == Access::Socket {
            assert_eq!(trusted, "405", "{path}");
            continue;
        }
        for parameter in route.parameters {
            let path = format!("{path}?{}", parameter.example);
            let status = status_of(&server, &path, "127.0.0.1").await;
            assert_eq!(status, "200", "{path}");
        }
    }
    assert_eq!(status_of(&server, "/api/v1/none", "127.0.0.1").await, "404");
}

#[tokio::test]
async fn answers_with_the_history_of_watched_ports_and_with_the_agent() {
    let server = Server::with_details(crate::config::WebDetails::Loopback).await;
    let get = async |path: &str| {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        server.exchange(request.as_bytes()).await
    };
    let history = get("/api/v1/ports/2948/history").await;
    assert!(history.starts_with("HTTP/1.1 200"), "{history}");
    assert!(history.contains("{\"port\":2948,\"until\":"), "{history}");
    assert!(get("/api/v1/ports/2949/history").await.starts_with("HTTP/1.1 404"));
    assert!(get("/api/v1/ports/x/history").await.starts_with("HTTP/1.1 400"));
    let catalogue = get("/api/v1/ports/2948/catalogue").await;
    assert!(catalogue.contains("\"name\":\"wap-push\"") && catalogue.contains("\"era\":"));
    assert!(get("/api/v1/ports/80/catalogue").await.contains("{\"name\":\"http\",\"port\":80}"));
    assert!(get("/api/v1/ports/65000/catalogue").await.starts_with("HTTP/1.1 404"));
    let agent = get("/api/v1/agent").await;
    assert!(agent.contains("\"host\":\"gateway-7\""), "{agent}");
}
