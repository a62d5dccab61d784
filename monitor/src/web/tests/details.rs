//! Who may read details, and answers to wrong requests.

use super::support::Server;
use crate::{
    config::WebDetails,
    web::administrator::{TcpEnds, is_administrator},
};

#[tokio::test]
async fn details_require_a_loopback_host() {
    let server = Server::of_text("").await;
    let ask = |path: &str, host: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let server = &server;
        async move { server.exchange(request.as_bytes()).await }
    };
    let ports = ask("/api/v1/ports", "localhost:1").await;
    assert!(ports.starts_with("HTTP/1.1 200"), "{ports}");
    assert!(ports.contains(r#"{"ports":[{"port":2948,"service":"wap-push","state":"quiet""#));
    let paths =
        ["/", "/api/v1/ports", "/api/v1/ports/2948", "/api/v1/events", "/api/v1/events/stream"];
    for path in paths {
        let refused = ask(path, "evil.example").await;
        assert!(refused.starts_with("HTTP/1.1 403"), "{path}: {refused}");
        if path == "/" {
            assert!(refused.contains("content-type: text/html"), "{refused}");
            assert!(refused.contains("the Host of the request") && !refused.contains("NONCE"));
            assert!(refused.contains("<a href=\"/metrics\">"), "{refused}");
            continue;
        }
        assert!(refused.contains(r#"{"error":"the Host"#), "{path}: {refused}");
    }
    let forwarded = "GET /api/v1/ports HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 192.0.2.1\r\n\
         Connection: close\r\n\r\n";
    let forwarded = server.exchange(forwarded.as_bytes()).await;
    assert!(forwarded.starts_with("HTTP/1.1 403") && forwarded.contains("proxy"), "{forwarded}");
    let page = ask("/", "localhost:1").await;
    assert!(page.starts_with("HTTP/1.1 200") && page.contains("<title>ghostport</title>"));
    assert!(page.contains("content-security-policy: default-src 'none'"), "{page}");
    assert!(!page.contains("NONCE"), "{page}");
    assert_ne!(page, ask("/", "localhost:1").await, "a nonce is used once");
    let metrics = ask("/metrics", "evil.example").await;
    assert!(metrics.starts_with("HTTP/1.1 200"), "metrics need no loopback host: {metrics}");
}

#[tokio::test]
async fn administrators_are_known_by_their_process() {
    let server = Server::with_details(WebDetails::Admins).await;
    let ask = "GET /api/v1/ports HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    // The client is this process, which has the group of the server.
    let answer = server.exchange(ask.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    // A client that is gone is that of no process.
    let ends = |port| TcpEnds { here: server.address, there: ([127, 0, 0, 1], port).into() };
    assert!(!is_administrator(Some(ends(1))).await);
    assert!(!is_administrator(None).await);
}

#[tokio::test]
async fn wrong_requests_are_explained() {
    let server = Server::of_text("").await;
    let cases = [
        ("/api/v1/ports/2948", "200", r#""port":2948"#),
        ("/api/v1/ports/2949", "404", "not watched"),
        ("/api/v1/talkers", "200", r#""port":2948,"transport":"udp","sources":2,"#),
        ("/api/v1/talkers?limit=1", "200", r#""packets_transmitted":1,"bytes_transmitted":60,"#),
        ("/api/v1/talkers?port=2949", "200", r#"{"ports":[]}"#),
        ("/api/v1/talkers?top=1", "400", "unknown field"),
        ("/api/v1/ports/0", "400", "no port"),
        ("/api/v1/events?port=0", "400", r#"{"error":"port: "#),
        ("/api/v1/nope", "404", r#"{"error":"#),
        ("/api/v1/ports/http", "400", "no port"),
        ("/api/v1/ports/99999", "400", "no port"),
        ("/api/v1/events?port=7&limit=1", "200", r#"{"events":[{"port":7}]}"#),
        ("/api/v1/events?port=7-9&limit=1", "200", r#"{"events":[{"port":7}]}"#),
        ("/api/v1/events?port=9-7", "400", "ends before it begins"),
        ("/api/v1/events?kind=bind", "200", "events"),
        ("/api/v1/events?kind=wind", "400", "bind_failed"),
        ("/api/v1/events?since=24h", "200", "events"),
        ("/api/v1/events?since=soon", "400", "error"),
        ("/api/v1/events?limit=-1", "400", "error"),
        ("/api/v1/events?what=ever", "400", "error"),
        ("/api/v1/events?port=404", "503", "there is no store at /no/store"),
        ("/api/v1/hooks", "500", "the kernel is silent"),
    ];
    for (path, status, words) in cases {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let answer = server.exchange(request.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {answer}");
        assert!(answer.contains(words), "{path}: {answer}");
    }
}
