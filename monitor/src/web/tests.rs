use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::body::Bytes;
use monitor_common::flow::Protocol;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::{
    api::MAX_STREAMS,
    connection::{CONNECTION_LIMIT, HEAD_LIMIT, LAST_ANSWER_LIMIT, MAX_CONNECTIONS},
    routes::MAX_LARGE,
    *,
};
use crate::{
    api::port::Port,
    config::{WatchedPort, WebDetails},
    event::{
        JsonLine,
        broadcast::{EventBroadcast, Subscriber},
    },
    metrics::Exposition,
    store::{Filter, ReadError},
};
use monitor_kernel::{hooks::HookStatus, snapshot::PortSources, sources::TalkerFacts};
use monitor_ledger::PortFacts;

/// Who knows of one port that nothing happened there.
struct Known {
    broadcast: EventBroadcast,
}

impl Known {
    fn shared() -> Arc<Self> {
        Arc::new(Self { broadcast: EventBroadcast::new(7) })
    }
}

fn address_of(listener: &Listener) -> SocketAddr {
    listener.address().unwrap()
}

impl Source for Known {
    fn details(&self) -> WebDetails {
        WebDetails::Loopback
    }

    fn ports(&self, only: Option<u16>) -> anyhow::Result<Vec<Port>> {
        let port = WatchedPort::new(2948);
        let view = Port::of_agent(&port, &PortFacts::default(), &[], Vec::new());
        Ok(only.is_none_or(|only| only == 2948).then_some(view).into_iter().collect())
    }

    fn talkers(&self) -> anyhow::Result<TalkerCounts> {
        let talker = |last, packets| TalkerFacts {
            port: 2948,
            protocol: Protocol::Udp,
            address: [192, 0, 2, last].into(),
            packets: [packets, 1],
            bytes: [packets * 60, 60],
            first_window: 2,
            last_window: 2,
        };
        let sources = PortSources { port: 2948, protocol: Protocol::Udp, addresses: 2 };
        Ok(TalkerCounts { sources: vec![sources], talkers: vec![talker(1, 9), talker(2, 3)] })
    }

    fn hooks(&self) -> anyhow::Result<Vec<HookStatus>> {
        anyhow::bail!("the kernel is silent")
    }

    fn events(&self, filter: &Filter) -> anyhow::Result<Vec<String>> {
        if filter.port == Some(404) {
            return Err(ReadError::Missing("/no/store".into()).into());
        }
        let event = format!(r#"{{"port":{}}}"#, filter.port.unwrap_or(0));
        Ok(vec![event; filter.limit.unwrap_or(0).min(2) as usize])
    }

    fn subscribe(&self) -> Subscriber {
        let subscriber = self.broadcast.subscribe();
        let json = r#"{"event.name":"ghostport.bind"}"#.to_owned();
        self.broadcast.send(&JsonLine::from(json));
        subscriber
    }
}

struct Server {
    address: SocketAddr,
    ready: Arc<AtomicBool>,
    stop: watch::Sender<()>,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(exposition: Exposition) -> Self {
        let listeners = bind(&["127.0.0.1:0".parse().unwrap()]).await.unwrap();
        let address = address_of(&listeners[0]);
        let ready = Arc::new(AtomicBool::new(true));
        let (stop, stopped) = watch::channel(());
        let ready_now = Arc::clone(&ready);
        let state = State { exposition, ready: ready_now, security: None, source: Known::shared() };
        let task = tokio::spawn(serve(listeners, state, stopped));
        Self { address, ready, stop, task }
    }

    async fn of_text(text: &'static str) -> Self {
        Self::start(Arc::new(move || Ok(vec![text.to_owned()]))).await
    }

    /// Sends bytes and reads until the server closes.
    async fn exchange(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // The server may refuse before it has read everything.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn get(&self, path: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        self.exchange(request.as_bytes()).await
    }
}

#[tokio::test]
async fn routes_answer_what_they_should() {
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
async fn methods_are_head_and_get() {
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
async fn a_scrape_that_fails_says_why() {
    let server = Server::start(Arc::new(|| anyhow::bail!("the map is gone"))).await;
    let answer = server.get("/metrics").await;
    assert!(answer.starts_with("HTTP/1.1 500") && answer.contains("the map is gone"), "{answer}");
}

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

#[tokio::test(start_paused = true)]
async fn a_slow_client_is_cut_off() {
    let server = Server::of_text("").await;
    let start = tokio::time::Instant::now();
    server.exchange(b"GET / HTTP/1.1\r\nX: ").await;
    let waited = start.elapsed();
    assert!(waited >= HEAD_LIMIT && waited < HEAD_LIMIT * 2, "{waited:?}");
}

#[tokio::test]
async fn silent_connections_beyond_the_limit_wait_their_turn() {
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
async fn stopping_does_not_wait_for_who_reads_nothing() {
    let server = Server::start(Arc::new(|| Ok(vec!["x".repeat(64 << 20)]))).await;
    let mut deaf = TcpStream::connect(server.address).await.unwrap();
    deaf.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    deaf.readable().await.unwrap();
    let start = Instant::now();
    drop(server.stop);
    timeout(LAST_ANSWER_LIMIT * 3, server.task).await.unwrap().unwrap();
    assert!(start.elapsed() >= LAST_ANSWER_LIMIT, "the answer under way had its time");
}

#[tokio::test]
async fn large_answers_do_not_pile_up() {
    let server = Server::start(Arc::new(|| Ok(vec!["x".repeat(64 << 20)]))).await;
    let ask = async || {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.unwrap();
        (stream, status)
    };
    let mut deaf = Vec::new();
    for _ in 0..MAX_LARGE {
        let (stream, status) = ask().await;
        assert_eq!(&status, b"HTTP/1.1 200");
        deaf.push(stream);
    }
    assert_eq!(&ask().await.1, b"HTTP/1.1 503");
    drop(deaf.pop());
    let deadline = Instant::now() + Duration::from_secs(10);
    while &ask().await.1 != b"HTTP/1.1 200" {
        assert!(Instant::now() < deadline, "the place of who has gone is not given to others");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_request_under_way_is_answered_before_the_end() {
    let server = Server::start(Arc::new(|| {
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
    assert!(TcpStream::connect(server.address).await.is_err(), "nobody listens");
}

#[tokio::test]
async fn expositions_are_made_one_at_a_time() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, highest) = (Arc::clone(&now), Arc::clone(&most));
    let server = Server::start(Arc::new(move || {
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
async fn a_listener_without_clients_takes_no_slot() {
    let listeners = bind(&["127.0.0.1:0".parse().unwrap(); 3]).await.unwrap();
    let addresses: Vec<SocketAddr> = listeners.iter().map(address_of).collect();
    let (_stop, stopped) = watch::channel(());
    let state = State {
        security: None,
        exposition: Arc::new(|| Ok(Vec::new())),
        ready: Arc::new(AtomicBool::new(true)),
        source: Known::shared(),
    };
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

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let server = Server::of_text("").await;
    let error = bind(&[server.address]).await.unwrap_err().to_string();
    assert!(error.contains(&server.address.to_string()) && error.contains("--web.listen-address"));
}

#[tokio::test]
async fn details_are_told_to_this_host_alone() {
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
        assert!(refused.contains(r#"{"error":"the Host"#), "{path}: {refused}");
    }
    let page = ask("/", "localhost:1").await;
    assert!(page.starts_with("HTTP/1.1 200") && page.contains("<title>ghostport</title>"));
    assert!(page.contains("content-security-policy: default-src 'none'"), "{page}");
    assert!(!page.contains("NONCE"), "{page}");
    assert_ne!(page, ask("/", "localhost:1").await, "a nonce is used once");
    let metrics = ask("/metrics", "evil.example").await;
    assert!(metrics.starts_with("HTTP/1.1 200"), "everybody may read them: {metrics}");
}

#[tokio::test]
async fn what_is_asked_for_wrongly_is_told() {
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

#[tokio::test]
async fn events_are_followed_as_they_come() {
    let server = Server::of_text("").await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = b"GET /api/v1/events/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut said = String::new();
    while !said.contains("id: 7\ndata: {\"event.name\":\"ghostport.bind\"}\n\n") {
        let mut bytes = [0; 512];
        let len = stream.read(&mut bytes).await.unwrap();
        assert_ne!(len, 0, "{said}");
        said.push_str(std::str::from_utf8(&bytes[..len]).unwrap());
    }
    assert!(said.contains("content-type: text/event-stream\r\n"), "{said}");
}

#[tokio::test]
async fn whoever_comes_back_is_told_what_was_missed() {
    let server = Server::of_text("").await;
    // Each of them is told one event, from number 7 on.
    for _ in 0..3 {
        follow(&server, |said| said.contains("id: ")).await;
    }
    let cases = [
        ("7", Some("event: lost\ndata: {\"lost\":2}\n\nid: 10\n")),
        ("10", None),
        ("6", Some("event: lost\ndata: {}\n\nid: 12\n")),
        ("x", None),
    ];
    for (last, lost) in cases {
        let header = format!("Last-Event-ID: {last}\r\n");
        let (_, said) = follow_with(&server, &header, |said| said.contains("id: ")).await;
        let chunks: String = said.split('\n').filter(|line| !line.ends_with('\r')).collect();
        let expected = lost.map(|lost| lost.replace('\n', ""));
        match expected {
            Some(expected) => assert!(chunks.contains(&expected), "{last}: {said:?}"),
            None => assert!(!chunks.contains("lost"), "{last}: {said:?}"),
        }
    }
}

/// Follows until the stream has said `enough`, or has ended.
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
    let mut said = String::new();
    while !enough(&said) {
        let mut bytes = [0; 512];
        let len = stream.read(&mut bytes).await.unwrap();
        if len == 0 {
            break;
        }
        said.push_str(std::str::from_utf8(&bytes[..len]).unwrap());
    }
    (stream, said)
}

#[tokio::test(start_paused = true)]
async fn who_follows_is_not_cut_off() {
    let server = Server::of_text("").await;
    let start = tokio::time::Instant::now();
    let silences = |said: &str| said.matches("still here").count();
    let (_, said) = follow(&server, |said| silences(said) >= 30).await;
    assert_eq!(silences(&said), 30, "after {:?}", start.elapsed());
    assert!(start.elapsed() > CONNECTION_LIMIT);
}

#[tokio::test]
async fn followers_leave_room_for_others() {
    let server = Server::of_text("").await;
    let mut followers = Vec::new();
    for _ in 0..MAX_STREAMS {
        followers.push(follow(&server, |said| said.contains("ghostport.bind")).await.0);
    }
    let (_, refused) = follow(&server, |said| said.contains("follow already")).await;
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    drop(followers.pop());
    let deadline = Instant::now() + Duration::from_secs(10);
    while !follow(&server, |said| said.contains("\r\n\r\n")).await.1.starts_with("HTTP/1.1 200") {
        assert!(Instant::now() < deadline, "the place of who has gone is not given to others");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_stream_ends_with_the_agent() {
    let server = Server::of_text("").await;
    let (mut stream, _) = follow(&server, |said| said.contains("ghostport.bind")).await;
    let start = Instant::now();
    drop(server.stop);
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert!(rest.ends_with("0\r\n\r\n"), "not cut off: {rest:?}");
    server.task.await.unwrap();
    assert!(start.elapsed() < LAST_ANSWER_LIMIT);
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
    let state = State {
        security: None,
        exposition: Arc::new(|| Ok(Vec::new())),
        ready: Arc::new(AtomicBool::new(true)),
        source: Known::shared(),
    };
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
