//! What a thousand hosts are to one Prometheus: `cargo xtask bench fleet`.

use std::{
    fmt::Write as _,
    io::{BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use testkit::{
    agent::{Agent, Config},
    panels::questions,
    prometheus::{Prometheus, Span},
    world::{Peer, World, in_world},
};

const FOUR_PORTS: [u16; 4] = [2923, 2948, 2949, 3716];
const HOSTS: usize = 1_000;
/// Seconds between two scrapes, as in the prometheus.yml that operators get.
const INTERVAL: u64 = 15;
/// Nearly five minutes, over which most rates are, together with the window.
const WARM_UP: Duration = Duration::from_secs(210);
const WINDOW: Duration = Duration::from_secs(90);

/// Prints what it finds. Nothing of it is asserted: time is the machine's.
#[test]
#[ignore = "a measurement of six minutes: cargo xtask bench fleet"]
fn serves_a_thousand_hosts() {
    in_world(|world| {
        let peer = Peer::alone();
        world.veth("gp0", &peer, "peer0");
        let with_loopback = page_of(world, &["lo", "gp0"]);
        // As docs/fleet.md says it for many hosts.
        let page = page_of(world, &["gp0"]);
        let bytes = page.len();
        let address = serve(Page::new(&page));
        let prometheus = Prometheus::start_as_shipped(world);
        let group = |host: usize| {
            let labels = json!({
                "__metrics_path__": format!("/{host}/metrics"),
                "instance": format!("host-{host:04}:10948"),
            });
            json!({ "targets": [address.to_string()], "labels": labels })
        };
        prometheus.scrape_groups(&(0..HOSTS).map(group).collect());
        eprintln!("{HOSTS} hosts: warming up for {} s", WARM_UP.as_secs());
        thread::sleep(WARM_UP);

        let before = prometheus.metrics();
        let start = Instant::now();
        thread::sleep(WINDOW);
        let after = prometheus.metrics();
        let seconds = start.elapsed().as_secs_f64();
        let grown = |name| (after.value(name, &[]) - before.value(name, &[])) / seconds;
        let appended = "prometheus_tsdb_head_samples_appended_total";
        let now = |expression: &str| -> f64 {
            let series = prometheus.query(expression);
            let value = series.first().and_then(|series| series["value"][1].as_str());
            value.and_then(|value| value.parse().ok()).unwrap_or(f64::NAN)
        };
        println!("| {HOSTS} hosts, every {INTERVAL} s | measured |\n| --- | ---: |");
        let row = |name: &str, value: String| println!("| {name} | {value} |");
        row("hosts that answer", format!("{}", now("sum(up)")));
        row("series a host, scraped", format!("{}", now("max(scrape_samples_scraped)")));
        let series = with_loopback.lines().filter(|line| !line.starts_with('#')).count();
        row("series of a host that counts on lo as well", format!("{series}"));
        let head = after.value("prometheus_tsdb_head_series", &[]);
        row("series in all, with rules and alerts", format!("{head}"));
        row("page of a host", format!("{:.1} kB", bytes as f64 / 1e3));
        let samples = (after.sum(appended, &[]) - before.sum(appended, &[])) as f64 / seconds;
        row("samples a second", format!("{samples:.0}"));
        row(
            "Prometheus, of a core",
            format!("{:.0} %", grown("process_cpu_seconds_total") * 100.0),
        );
        let resident = after.value("process_resident_memory_bytes", &[]);
        row("Prometheus, resident", format!("{:.0} MiB", resident / f64::from(1 << 20)));
        for (name, part) in [("median", 0.5), ("99 %", 0.99)] {
            let took = now(&format!("quantile({part}, scrape_duration_seconds)"));
            row(&format!("scrape, {name}"), format!("{:.1} ms", took * 1e3));
        }
        for group in prometheus.groups() {
            let took = group["evaluationTime"].as_f64().expect("a time");
            let name = group["name"].as_str().expect("a name");
            row(&format!("evaluation of {name}"), format!("{:.0} ms", took * 1e3));
        }
        ask_overview(&prometheus);
    });
}

/// The page of an agent that watches five ports on these interfaces.
fn page_of(world: &World, interfaces: &[&'static str]) -> String {
    // The fifth is the one that every agent of a test watches.
    let agent = Agent::start(world, &Config::new(FOUR_PORTS).on(interfaces));
    let page = agent.get("/metrics").body;
    let _ = agent.terminate();
    page
}

/// How long the overview waits for its answers, of all hosts and of half of them, when it is opened.
fn ask_overview(prometheus: &Prometheus) {
    for (name, instances) in [("all hosts", ".*"), ("500 hosts", "host-0[0-4].*")] {
        let mut took: Vec<_> = questions("overview", "1m")
            .into_iter()
            .filter(|question| !question.is_folded)
            .map(|mut question| {
                let of_all = r#"instance=~".*""#;
                let of_these = format!("instance=~{instances:?}");
                question.expression = question.expression.replace(of_all, &of_these);
                let start = Instant::now();
                question.ask(prometheus, &Span::last(WARM_UP.as_secs(), INTERVAL));
                (start.elapsed().as_secs_f64() * 1e3, question.title)
            })
            .collect();
        took.sort_by(|one, other| other.0.total_cmp(&one.0));
        let all: f64 = took.iter().map(|(milliseconds, _)| milliseconds).sum();
        let count = took.len();
        println!("| overview of {name}, all {count} queries one after another | {all:.0} ms |");
        for (milliseconds, title) in took.iter().take(5) {
            println!("| slowest: {title} | {milliseconds:.0} ms |");
        }
    }
}

/// A page of metrics, of which every host has its own.
struct Page {
    lines: Vec<Line>,
    start: Instant,
}

enum Line {
    Fixed(String),
    /// A counter without its value, and the value.
    Counter(String, f64),
}

impl Page {
    fn new(text: &str) -> Arc<Self> {
        let line = |line: &str| match line.rsplit_once(' ') {
            Some((series, value)) if !line.starts_with('#') && series.contains("_total") => {
                Line::Counter(series.to_owned(), value.parse().expect("a number"))
            }
            _ => Line::Fixed(line.to_owned()),
        };
        Arc::new(Self { lines: text.lines().map(line).collect(), start: Instant::now() })
    }

    /// A tenth of all counters grow, others on each host, by up to fifty a second.
    fn of_host(&self, host: usize) -> String {
        let elapsed = self.start.elapsed().as_secs_f64();
        let mut text = String::new();
        for (number, line) in self.lines.iter().enumerate() {
            let _ = match line {
                Line::Fixed(line) => writeln!(text, "{line}"),
                Line::Counter(series, value) => {
                    let hash = (host * 7919 + number * 104_729) % 1009;
                    let rate = if hash.is_multiple_of(10) { hash as f64 / 20.0 } else { 0.0 };
                    writeln!(text, "{series} {}", value + (elapsed * rate).floor())
                }
            };
        }
        text
    }
}

/// Serves `/HOST/metrics` on loopback, to the end of the process.
fn serve(page: Arc<Page>) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bound");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let page = Arc::clone(&page);
            thread::spawn(move || answer(stream, &page));
        }
    });
    address
}

/// Answers until the connection ends.
fn answer(stream: TcpStream, page: &Page) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    loop {
        line.clear();
        reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
        let host = line.split(['/', ' ']).nth(2)?.parse().ok()?;
        while line.trim_end() != "" {
            line.clear();
            reader.read_line(&mut line).ok()?;
        }
        let body = page.of_host(host);
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        reader.get_mut().write_all(head.as_bytes()).ok()?;
        reader.get_mut().write_all(body.as_bytes()).ok()?;
    }
}
