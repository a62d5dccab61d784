//! Alertmanager with the configuration of the example, and a receiver for its webhooks.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    servers::{Server, dashboards},
    world::World,
};

/// Alertmanager with the example that operators get.
pub struct Alertmanager(Server);

impl Alertmanager {
    /// Starts one that belongs to no cluster.
    pub fn start(world: &World) -> Self {
        Self::start_with(world, 9093, &["--cluster.listen-address=".to_owned()])
    }

    /// The same, with intervals of a second or two, which show every message soon.
    pub fn start_quick(world: &World) -> Self {
        let config = world.path("alertmanager.yml");
        let example = fs::read_to_string(example()).expect("a configuration");
        let quick =
            example.replace("interval: 1m", "interval: 2s").replace("wait: 30s", "wait: 1s");
        fs::write(&config, quick).expect("written");
        Self::start_from(world, 9093, &config, &["--cluster.listen-address=".to_owned()])
    }

    /// Starts one with a configuration, in which `/TEMPLATES` is where ours are.
    pub fn start_configured(world: &World, config: &str) -> Self {
        let path = world.path("alertmanager.yml");
        let templates = dashboards().join("alertmanager");
        let config = config.replace("/TEMPLATES", &templates.display().to_string());
        fs::write(&path, config).expect("written");
        Self::start_from(world, 9093, &path, &["--cluster.listen-address=".to_owned()])
    }

    /// Starts one on another port, with these arguments besides.
    pub fn start_with(world: &World, port: u16, arguments: &[String]) -> Self {
        Self::start_from(world, port, &example(), arguments)
    }

    fn start_from(world: &World, port: u16, config: &Path, arguments: &[String]) -> Self {
        let storage = world.path(&format!("alertmanager-{port}"));
        let ours = [
            format!("--config.file={}", config.display()),
            format!("--storage.path={}", storage.display()),
        ];
        Self(Server::start(world, "alertmanager", port, &[&ours, arguments].concat()))
    }

    /// How many are in its cluster, itself included.
    pub fn peers(&self) -> usize {
        let status = self.0.get("/api/v2/status");
        status["cluster"]["peers"].as_array().map_or(0, Vec::len)
    }

    /// Alerts that it knows of.
    pub fn alerts(&self) -> Vec<Value> {
        self.0.get("/api/v2/alerts").as_array().cloned().expect("alerts")
    }
}

/// The configuration that operators get.
fn example() -> PathBuf {
    dashboards().join("alertmanager/alertmanager.yml")
}

/// What came to a webhook.
#[derive(Debug)]
pub struct Notification {
    /// When all of it was there.
    pub at: Instant,
    /// Path that it was sent to.
    pub path: String,
    /// What was sent.
    pub body: Value,
}

/// A receiver of webhooks on the port that the example names.
pub struct Webhook {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    received: Receiver<Notification>,
}

impl Webhook {
    /// Listens in this thread's namespace.
    pub fn start() -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080));
        let listener = TcpListener::bind(address).expect("bound");
        let stop = Arc::new(AtomicBool::new(false));
        let (send, received) = mpsc::channel();
        let stopped = Arc::clone(&stop);
        let work = move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                // A client that gives up half-way sends again.
                if let Some(notification) = receive(stream) {
                    let _ = send.send(notification);
                }
            }
        };
        let thread = thread::Builder::new().name("webhook".into()).spawn(work).expect("spawned");
        Self { address, stop, thread: Some(thread), received }
    }

    /// Every notification that comes within that time.
    pub fn within(&self, time: Duration) -> Vec<Notification> {
        thread::sleep(time);
        self.received.try_iter().collect()
    }

    /// The next notification, which must come within that time.
    pub fn next(&self, patience: Duration) -> Notification {
        self.received.recv_timeout(patience).expect("a notification")
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn receive(stream: TcpStream) -> Option<Notification> {
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut length = 0;
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        match line.trim_end().split_once(": ") {
            Some((key, value)) if key.eq_ignore_ascii_case("content-length") => {
                length = value.parse().ok()?;
            }
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let at = Instant::now();
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    reader.into_inner().write_all(answer).ok()?;
    Some(Notification { at, path, body: serde_json::from_slice(&body).ok()? })
}
