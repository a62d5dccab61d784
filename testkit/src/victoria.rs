//! VictoriaMetrics, to which samples are written, and vmalert, which evaluates rules over it.

use std::path::Path;

use serde_json::Value;

use super::{
    http,
    servers::{Server, encoded, result_of},
    world::World,
};

/// Where the example of remote_write sends samples.
const PORT: u16 = 8428;

/// A database of one node.
pub struct VictoriaMetrics(Server);

impl VictoriaMetrics {
    /// Starts an empty one.
    pub fn start(world: &World) -> Self {
        let arguments = [
            format!("-storageDataPath={}", world.path("victoria-metrics").display()),
            format!("-httpListenAddr=127.0.0.1:{PORT}"),
            // Half a minute otherwise, in which others may still be writing.
            "-search.latencyOffset=1s".to_owned(),
        ];
        Self(Server::start_until(world, "victoria-metrics", PORT, "/health", &arguments))
    }

    /// Series that an expression has now. A new series may take ten seconds and more until it is
    /// found, so the index is flushed first.
    pub fn query(&self, expression: &str) -> Vec<Value> {
        http::get(self.0.address, "/internal/force_flush").expect("flushed");
        result_of(self.0.get(&format!("/api/v1/query?query={}", encoded(expression))))
    }
}

/// vmalert: evaluates rules every second, writes their results and notifies Alertmanager.
pub struct Vmalert(Server);

impl Vmalert {
    /// Starts one with every rule of a folder.
    pub fn start(world: &World, rules: &Path) -> Self {
        let database = format!("http://127.0.0.1:{PORT}");
        let rules = ["recording.yml", "alerts.yml"].map(|name| rules.join(name));
        let rules = rules.map(|rules| format!("-rule={}", rules.display()));
        let arguments = [
            format!("-datasource.url={database}"),
            format!("-remoteWrite.url={database}"),
            format!("-remoteRead.url={database}"),
            "-remoteWrite.flushInterval=1s".to_owned(),
            "-notifier.url=http://127.0.0.1:9093".to_owned(),
            "-evaluationInterval=1s".to_owned(),
            "-httpListenAddr=127.0.0.1:8880".to_owned(),
        ];
        let arguments = [&rules[..], &arguments].concat();
        Self(Server::start_until(world, "vmalert", 8880, "/health", &arguments))
    }

    /// Errors of rules.
    pub fn errors(&self) -> Vec<String> {
        let answer = self.0.get("/api/v1/rules");
        let groups = answer["data"]["groups"].as_array().cloned().expect("groups");
        let rules = groups.iter().flat_map(|group| group["rules"].as_array().cloned());
        let errors =
            rules.flatten().filter_map(|rule| Some(rule["lastError"].as_str()?.to_owned()));
        errors.filter(|error| !error.is_empty()).collect()
    }
}
