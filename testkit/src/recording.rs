//! An hour, as Prometheus would have scraped it, of a life that takes some seconds.
//!
//! Every sample is of a live scrape: its name, its labels and its value. Only the clock is another
//! one: from one scrape to the next it advances by [`INTERVAL`], whatever that took. Timestamps that
//! the agent exports are moved to that clock; durations stay as they were measured. A scrape that fails
//! leaves `up` at 0, and no marks of staleness, which cannot be written: for five minutes more the
//! series are as they were.

use std::{
    fmt::Write as _, fs, net::SocketAddr, path::Path, process::Command, thread, time::Duration,
};

use jiff::Timestamp;
use serde_json::Value;

use super::{
    http,
    prometheus::{Prometheus, Span},
    servers::{dashboards, program},
    world::World,
};

/// Seconds between two scrapes, as in the prometheus.yml that operators get.
pub const INTERVAL: u64 = 15;
/// Scrapes of a minute.
const A_MINUTE: u64 = 60 / INTERVAL;
const MINUTES: u64 = 60;
/// What is lived at least between two scrapes.
const PAUSE: Duration = Duration::from_millis(45);
/// How long ago the hour ended: promtool writes nothing that a server may still be writing to.
const AGO: i64 = 4 * 3600;

/// The hour.
pub struct Recording {
    /// When it was.
    pub span: Span,
    samples: String,
    /// Seconds since 1970 at which each scrape was made.
    lived: Vec<f64>,
}

impl Recording {
    /// Scrapes these targets while `live` is called with each minute that begins.
    pub fn of(targets: &[&str], mut live: impl FnMut(u64)) -> Self {
        let end = (Timestamp::now().as_second() - AGO) / 60 * 60;
        let span = Span { end, seconds: MINUTES * 60, step: INTERVAL };
        let mut recording = Self { span, samples: String::new(), lived: Vec::new() };
        for scrape in 0..=MINUTES * A_MINUTE {
            if scrape.is_multiple_of(A_MINUTE) {
                live(scrape / A_MINUTE);
            }
            recording.lived.push(now());
            targets.iter().for_each(|target| recording.scrape(target));
            thread::sleep(PAUSE);
        }
        recording
    }

    /// Time of the scrape at hand.
    fn time(&self) -> i64 {
        self.span.start() + (self.lived.len() as i64 - 1) * INTERVAL as i64
    }

    fn scrape(&mut self, target: &str) {
        let address: SocketAddr = target.parse().expect("an address");
        let page = http::get(address, "/metrics").ok().filter(|page| page.status == 200);
        let up = if page.is_some() { "up 1" } else { "up 0" };
        let page = page.map(|page| page.body).unwrap_or_default();
        let lines = page.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        for line in lines.chain([up]) {
            self.take(target, line);
        }
    }

    /// Takes in a line of a page, with the labels and the time that Prometheus would add.
    fn take(&mut self, target: &str, line: &str) {
        let (series, value) = line.rsplit_once(' ').expect("a value");
        let (name, labels) = series.strip_suffix('}').and_then(|it| it.split_once('{')).unzip();
        let name = name.unwrap_or(series);
        let labels = labels.map(|labels| format!(",{labels}")).unwrap_or_default();
        let value = match value.parse::<f64>() {
            Ok(moment) if tells_a_moment(name) && moment > 0.0 => self.moved(moment).to_string(),
            _ => value.to_owned(),
        };
        let time = self.time();
        let ours = format!(r#"job="ghostport",instance="{target}""#);
        writeln!(self.samples, "{name}{{{ours}{labels}}} {value} {time}").expect("written");
    }

    /// Where a lived moment is on the recording's clock: between the same two scrapes. What was
    /// before the first is as long before as if it had been recorded too.
    fn moved(&self, moment: f64) -> f64 {
        let scrape = self.lived.partition_point(|lived| *lived < moment).max(1) - 1;
        let before = self.lived[scrape];
        let interval = self.lived.get(scrape + 1).map_or(PAUSE.as_secs_f64(), |next| next - before);
        let part = (moment - before) / interval;
        self.span.start() as f64 + (scrape as f64 + part) * INTERVAL as f64
    }

    /// The same hour as that of other hosts, each of which lives it later and on other ports: what is
    /// recorded there before is how it began.
    pub fn as_hosts(mut self, hosts: &[Host]) -> Self {
        let recorded = std::mem::take(&mut self.samples);
        let lines: Vec<_> =
            recorded.lines().map(|line| line.rsplit_once(' ').expect("a time")).collect();
        for host in hosts {
            for (line, time) in &lines {
                let time: i64 = time.parse().expect("a time");
                let Some(line) = host.line(line) else { continue };
                // How it began lasts until its hour begins.
                let first = if time == self.span.start() { 0 } else { host.later };
                for later in (first..=host.later).step_by(INTERVAL as usize) {
                    if time + later <= self.span.end {
                        writeln!(self.samples, "{line} {}", time + later).expect("written");
                    }
                }
            }
        }
        self
    }

    /// A Prometheus that has this hour, and what the recording rules would have made of it.
    pub fn play(mut self, world: &World) -> Prometheus {
        self.samples.push_str("# EOF\n");
        let file = world.path("hour.om");
        fs::write(&file, &self.samples).expect("written");
        let data = Prometheus::data(world);
        fs::create_dir_all(&data).expect("a folder");
        create_blocks("openmetrics", |command| command.arg(&file).arg(&data));
        // A rule that is made of another one finds it once a server has it.
        for _ in 0..2 {
            let _prometheus = Prometheus::start(world);
            create_blocks("rules", |command| self.rules(command, &data));
        }
        let alerts = self.alerts(&Prometheus::start(world));
        fs::write(&file, alerts).expect("written");
        create_blocks("openmetrics", |command| command.arg(&file).arg(&data));
        Prometheus::start(world)
    }

    /// What a server would have recorded of its alerts: that they are pending or fire, and since when.
    fn alerts(&self, prometheus: &Prometheus) -> String {
        let mut samples = String::new();
        for rule in prometheus.rules().iter().filter(|rule| rule["type"] == "alerting") {
            let expression = rule["query"].as_str().expect("an expression");
            for series in prometheus.query_range(expression, &self.span) {
                write_alert(&mut samples, rule, &series);
            }
        }
        samples + "# EOF\n"
    }

    fn rules<'a>(&self, command: &'a mut Command, data: &Path) -> &'a mut Command {
        command
            .arg(format!("--start={}", self.span.start()))
            .arg(format!("--end={}", self.span.end))
            .arg(format!("--output-dir={}", data.display()))
            .arg(dashboards().join("prometheus/recording.yml"))
    }
}

/// Another host that lives the recorded hour.
pub struct Host {
    /// Its name, with the port of its agent.
    pub name: &'static str,
    /// By how many seconds its hour begins later.
    pub later: i64,
    /// Ports of the recording with those that they are here. What the registry says of the latter is
    /// kept, nothing else of them.
    pub ports: Vec<(u16, u16)>,
}

impl Host {
    /// A sample without its time, as of this host.
    fn line(&self, line: &str) -> Option<String> {
        let (before, rest) = line.split_once("instance=\"").expect("an instance");
        let (_, rest) = rest.split_once('"').expect("an instance");
        let mut line = format!("{before}instance=\"{}\"{rest}", self.name);
        let is_info = line.starts_with("ghostport_port_info");
        for (from, to) in &self.ports {
            let [from, to] = [from, to].map(|port| format!("port=\"{port}\""));
            if line.contains(&to) {
                return is_info.then_some(line);
            } else if line.contains(&from) {
                return (!is_info).then(|| self.moved(&line.replace(&from, &to)));
            }
        }
        line = self.moved(&line);
        Some(line)
    }

    /// The sample, with a moment that is as much later as the host is.
    fn moved(&self, line: &str) -> String {
        let name = line.split('{').next().unwrap_or_default();
        match line.rsplit_once(' ') {
            Some((series, value)) if tells_a_moment(name) && value != "0" => {
                let moment: f64 = value.parse().expect("a moment");
                format!("{series} {}", moment + self.later as f64)
            }
            _ => line.to_owned(),
        }
    }
}

/// Timestamps, and the start of the process.
fn tells_a_moment(name: &str) -> bool {
    name.ends_with("_timestamp_seconds") || name == "process_start_time_seconds"
}

/// Writes what a server records of an alert while the expression of its rule has a series.
fn write_alert(samples: &mut String, rule: &Value, series: &Value) {
    let mut labels = labels_of(&series["metric"]);
    labels.retain(|(name, _)| name != "__name__");
    labels.extend(labels_of(&rule["labels"]));
    labels.push(("alertname".to_owned(), text(&rule["name"])));
    let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    let labels = labels.join(",");
    let patience = rule["duration"].as_f64().unwrap_or_default();
    let (mut since, mut last) = (0.0, 0.0);
    for point in series["values"].as_array().into_iter().flatten() {
        let time = point[0].as_f64().expect("a time");
        if time > last + INTERVAL as f64 {
            since = time;
        }
        last = time;
        let state = if time - since >= patience { "firing" } else { "pending" };
        writeln!(samples, "ALERTS{{{labels},alertstate=\"{state}\"}} 1 {time}").expect("written");
        writeln!(samples, "ALERTS_FOR_STATE{{{labels}}} {since} {time}").expect("written");
    }
}

fn labels_of(labels: &Value) -> Vec<(String, String)> {
    let labels = labels.as_object().into_iter().flatten();
    labels.map(|(name, value)| (name.clone(), text(value))).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn now() -> f64 {
    Timestamp::now().as_duration().as_secs_f64()
}

fn create_blocks(kind: &str, arguments: impl FnOnce(&mut Command) -> &mut Command) {
    let mut command = Command::new(program("promtool"));
    command.args(["tsdb", "create-blocks-from", kind]);
    let output = arguments(&mut command).output().expect("promtool");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}
