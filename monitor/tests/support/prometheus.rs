//! Prometheus, as operators run it.

use std::{fs, path::PathBuf};

use serde_json::Value;

use super::{
    http,
    metrics::Metrics,
    servers::{Server, dashboards},
    world::World,
};

/// A span of time, as a dashboard shows one.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// Its last second, counted from 1970.
    pub end: i64,
    /// Its length.
    pub seconds: u64,
    /// Seconds from one point of a graph to the next.
    pub step: u64,
}

impl Span {
    /// The last seconds.
    pub fn last(seconds: u64, step: u64) -> Self {
        Self { end: now(), seconds, step }
    }

    /// Its first second.
    pub fn start(&self) -> i64 {
        self.end - self.seconds as i64
    }
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
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
            format!("--storage.tsdb.path={}", Self::data(world).display()),
        ];
        Self(Server::start(world, "prometheus", 9090, &arguments))
    }

    /// Where it keeps its data.
    pub fn data(world: &World) -> PathBuf {
        world.path("prometheus/data")
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
        self.query_at(expression, now())
    }

    /// Series that an expression has at a time, in seconds since 1970.
    pub fn query_at(&self, expression: &str, time: i64) -> Vec<Value> {
        result_of(self.0.get(&format!("/api/v1/query?query={}&time={time}", encoded(expression))))
    }

    /// Series that an expression has within a span of time.
    pub fn query_range(&self, expression: &str, span: &Span) -> Vec<Value> {
        let path = format!(
            "/api/v1/query_range?query={}&start={}&end={}&step={}s",
            encoded(expression),
            span.start(),
            span.end,
            span.step
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
