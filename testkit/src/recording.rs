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
        Prometheus::start(world)
    }

    fn rules<'a>(&self, command: &'a mut Command, data: &Path) -> &'a mut Command {
        command
            .arg(format!("--start={}", self.span.start()))
            .arg(format!("--end={}", self.span.end))
            .arg(format!("--output-dir={}", data.display()))
            .arg(dashboards().join("prometheus/recording.yml"))
    }
}

/// Timestamps, and the start of the process.
fn tells_a_moment(name: &str) -> bool {
    name.ends_with("_timestamp_seconds") || name == "process_start_time_seconds"
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
