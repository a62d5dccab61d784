//! Prometheus, as operators run it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{
    http,
    metrics::Metrics,
    servers::{Server, dashboards, encoded, result_of},
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

/// Everything that operators get for Prometheus.
const FILES: [&str; 6] = [
    "prometheus.yml",
    "recording.yml",
    "alerts.yml",
    "fleet/federation.yml",
    "fleet/remote-write.yml",
    "fleet/replica.yml",
];

/// Prometheus with the rules and the configuration that operators get.
pub struct Prometheus {
    server: Server,
    folder: PathBuf,
}

impl Prometheus {
    /// Starts one that knows no target yet, and scrapes and evaluates every second.
    pub fn start(world: &World) -> Self {
        Self::start_with(world, 9090, "prometheus.yml", every_second)
    }

    /// Starts one with the files as they are.
    pub fn start_as_shipped(world: &World) -> Self {
        Self::start_with(world, 9090, "prometheus.yml", str::to_owned)
    }

    /// Starts one on another port, with another of the files, of all of which `fit` changes what fits
    /// another host or another pace.
    pub fn start_with(
        world: &World,
        port: u16,
        config: &str,
        fit: impl Fn(&str) -> String,
    ) -> Self {
        let folder = Self::folder(world, port);
        copy(&folder, fit);
        let is_agent = config == "fleet/remote-write.yml";
        let (agent, data) = if is_agent {
            (Some("--enable-feature=agent".to_owned()), "storage.agent.path")
        } else {
            (None, "storage.tsdb.path")
        };
        let arguments = [
            format!("--config.file={}", folder.join(config).display()),
            format!("--{data}={}", folder.join("data").display()),
        ];
        let arguments: Vec<_> = arguments.into_iter().chain(agent).collect();
        Self { server: Server::start(world, "prometheus", port, &arguments), folder }
    }

    fn folder(world: &World, port: u16) -> PathBuf {
        world.path(&format!("prometheus-{port}"))
    }

    /// Where [`Self::start`] keeps its data.
    pub fn data(world: &World) -> PathBuf {
        Self::folder(world, 9090).join("data")
    }

    /// Adds targets by a file, as an operator does.
    pub fn scrape(&self, targets: &[&str]) {
        self.scrape_groups(&serde_json::json!([{ "targets": targets }]));
    }

    /// The same of groups of targets with their labels.
    pub fn scrape_groups(&self, groups: &Value) {
        fs::write(self.folder.join("targets/hosts.yml"), groups.to_string()).expect("written");
    }

    /// Its own metrics.
    pub fn metrics(&self) -> Metrics {
        let response = http::get_whole(self.server.address, "/metrics").expect("a page");
        Metrics::parse(response.body)
    }

    /// Series that an expression has now.
    pub fn query(&self, expression: &str) -> Vec<Value> {
        self.query_at(expression, now())
    }

    /// Series that an expression has at a time, in seconds since 1970.
    pub fn query_at(&self, expression: &str, time: i64) -> Vec<Value> {
        result_of(
            self.server.get(&format!("/api/v1/query?query={}&time={time}", encoded(expression))),
        )
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
        result_of(self.server.get(&path))
    }

    /// Groups of the rules that it has loaded.
    pub fn groups(&self) -> Vec<Value> {
        let answer = self.server.get("/api/v1/rules");
        answer["data"]["groups"].as_array().cloned().expect("groups")
    }

    /// Every rule that it has loaded.
    pub fn rules(&self) -> Vec<Value> {
        let groups = self.groups();
        groups.iter().flat_map(|group| group["rules"].as_array().cloned().expect("rules")).collect()
    }
}

/// A file with a second in place of its intervals.
pub fn every_second(text: &str) -> String {
    text.replace("interval: 15s", "interval: 1s").replace("interval: 1m", "interval: 1s")
}

fn copy(folder: &Path, fit: impl Fn(&str) -> String) {
    for inner in ["targets", "fleet"] {
        fs::create_dir_all(folder.join(inner)).expect("a folder");
    }
    for file in FILES {
        let text = fs::read_to_string(dashboards().join("prometheus").join(file)).expect(file);
        fs::write(folder.join(file), fit(&text)).expect("written");
    }
}
