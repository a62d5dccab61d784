//! Prometheus and Alertmanager, started by the test in its own world, and a receiver of webhooks.

use std::{
    env,
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{eventually, http, metrics::Metrics, world::World};

/// What operators import.
pub fn dashboards() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../dashboards")
}

/// One of the programs that `cargo xtask setup` provides: this system's own, or the one that it
/// unpacked into the target folder, where this test program is too. Debian calls Alertmanager
/// prometheus-alertmanager.
pub fn program(name: &str) -> PathBuf {
    let this = env::current_exe().expect("a path");
    let unpacked = this.ancestors().nth(3).expect("a target folder").join("programs/usr/bin");
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders = env::split_paths(&path).chain([unpacked]);
    let names = [name.to_owned(), format!("prometheus-{name}")];
    folders
        .find_map(|folder| names.iter().map(|name| folder.join(name)).find(|path| path.is_file()))
        .unwrap_or_else(|| panic!("{name} is not here: cargo xtask setup"))
}

/// A server that ends with the test. What it said is shown if the test fails.
struct Server {
    child: Child,
    log: PathBuf,
    address: SocketAddr,
}

impl Server {
    fn start(world: &World, name: &str, port: u16, arguments: &[String]) -> Self {
        let log = world.path(&format!("{name}.log"));
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let child = Command::new(program(name))
            .args(arguments)
            .arg(format!("--web.listen-address={address}"))
            .current_dir(World::DIR)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).expect("a log"))
            .spawn()
            .expect("spawned");
        let mut server = Self { child, log, address };
        eventually(&format!("{name} that is ready"), || {
            if let Some(status) = server.child.try_wait().expect("waited") {
                panic!("{name} ended with {status}");
            }
            http::get(address, "/-/ready").ok().filter(|response| response.status == 200)
        });
        server
    }

    fn get(&self, path: &str) -> Value {
        let response = http::get_whole(self.address, path).expect(path);
        assert_eq!(response.status, 200, "{path}: {}", response.body);
        serde_json::from_str(&response.body).expect("JSON")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let said = fs::read_to_string(&self.log).unwrap_or_default();
            eprintln!("--- {} ---\n{said}---", self.log.display());
        }
    }
}

/// Prometheus with the rules and the configuration that operators get.
pub struct Prometheus(Server);

impl Prometheus {
    /// Starts one that knows no target yet, and scrapes and evaluates every second.
    pub fn start(world: &World) -> Self {
        Self::start_every(world, "1s")
    }

    /// The same with another interval.
    pub fn start_every(world: &World, interval: &str) -> Self {
        let folder = world.path("prometheus");
        fs::create_dir_all(folder.join("targets")).expect("a folder");
        for file in ["prometheus.yml", "recording.yml", "alerts.yml"] {
            let text = fs::read_to_string(dashboards().join("prometheus").join(file)).expect(file);
            let ours = format!("interval: {interval}");
            let text = text.replace("interval: 15s", &ours).replace("interval: 1m", &ours);
            fs::write(folder.join(file), text).expect("written");
        }
        let arguments = [
            format!("--config.file={}", folder.join("prometheus.yml").display()),
            format!("--storage.tsdb.path={}", folder.join("data").display()),
        ];
        Self(Server::start(world, "prometheus", 9090, &arguments))
    }

    /// Tells it of targets, the way an operator does: by a file.
    pub fn scrape(&self, world: &World, targets: &[&str]) {
        self.scrape_groups(world, &serde_json::json!([{ "targets": targets }]));
    }

    /// The same of groups of targets with their labels.
    pub fn scrape_groups(&self, world: &World, groups: &Value) {
        let file = world.path("prometheus/targets/hosts.yml");
        fs::write(file, groups.to_string()).expect("written");
    }

    /// Its own metrics.
    pub fn metrics(&self) -> Metrics {
        let response = http::get_whole(self.0.address, "/metrics").expect("a page");
        Metrics::parse(response.body)
    }

    /// Series that an expression has now.
    pub fn query(&self, expression: &str) -> Vec<Value> {
        result_of(self.0.get(&format!("/api/v1/query?query={}", encoded(expression))))
    }

    /// Series that an expression has had within the last seconds, at steps of seconds.
    pub fn query_range(&self, expression: &str, seconds: u64, step: u64) -> Vec<Value> {
        let now = jiff::Timestamp::now().as_second();
        let path = format!(
            "/api/v1/query_range?query={}&start={}&end={now}&step={step}s",
            encoded(expression),
            now - seconds as i64
        );
        result_of(self.0.get(&path))
    }

    /// Groups of the rules that it has loaded.
    pub fn groups(&self) -> Vec<Value> {
        let answer = self.0.get("/api/v1/rules");
        answer["data"]["groups"].as_array().cloned().expect("groups")
    }

    /// Every rule that it has loaded.
    pub fn rules(&self) -> Vec<Value> {
        let groups = self.groups();
        groups.iter().flat_map(|group| group["rules"].as_array().cloned().expect("rules")).collect()
    }
}

fn result_of(answer: Value) -> Vec<Value> {
    match &answer["data"]["result"] {
        Value::Array(series) => series.clone(),
        other => panic!("no result: {other}"),
    }
}

/// Percent-encoding of all that is not a letter or a digit.
fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        _ if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// Alertmanager with the example that operators get.
pub struct Alertmanager(Server);

impl Alertmanager {
    /// Starts one that belongs to no cluster.
    pub fn start(world: &World) -> Self {
        let config = dashboards().join("alertmanager/alertmanager.yml");
        let arguments = [
            format!("--config.file={}", config.display()),
            format!("--storage.path={}", world.path("alertmanager").display()),
            "--cluster.listen-address=".to_owned(),
        ];
        Self(Server::start(world, "alertmanager", 9093, &arguments))
    }

    /// Alerts that it knows of.
    pub fn alerts(&self) -> Vec<Value> {
        self.0.get("/api/v2/alerts").as_array().cloned().expect("alerts")
    }
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
