//! Events as rows of a table.
//!
//! The table is as wide as the terminal; in a pipe nothing is cut. Columns that a narrow terminal has
//! no room for are left out, and what is least needed is cut last in a row.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    table::{Cell, Column, Row, Table},
    tone::Tone,
};
use crate::{api::event::EventSummary, config::quantity};

/// Of 80 columns. How long ago an event was takes more.
const COLUMNS: [Column; 6] = [
    Column::new("TIME (UTC)", TIME),
    Column::new("AGO", 4).right().from(100),
    Column::new("EVENT", 16).growing(1, 19),
    Column::new("PORT", 9),
    Column::new("WHO", 18).growing(1, 44),
    Column::new("WHAT", 14).growing(2, usize::MAX),
];

/// `2026-11-21 08:30:00`.
const TIME: usize = 19;

/// How events are laid out.
#[derive(Clone, Debug)]
pub(crate) struct EventTable(Table);

impl EventTable {
    /// A table that is so many columns wide, or as wide as it becomes.
    pub(crate) fn new(width: Option<usize>, in_colour: bool) -> Self {
        Self(Table::of_columns(&COLUMNS, width, in_colour))
    }

    /// The heading. Times are UTC.
    pub(crate) fn heading(&self) -> String {
        self.0.heading()
    }

    /// The row of an event, which is one line of JSON, at `now`. Unknown fields are left empty.
    pub(crate) fn row(&self, line: &str, now: Timestamp) -> String {
        self.row_of(&serde_json::from_str(line).unwrap_or_default(), 1, now)
    }

    /// The same for an event that stands for `count` alike, the last of which it is. `!` is before what
    /// is not expected.
    pub(crate) fn row_of(&self, event: &EventSummary, count: u64, now: Timestamp) -> String {
        let time = event.time.as_deref().unwrap_or_default();
        let kind = event.name.as_deref().unwrap_or_default().trim_start_matches("ghostport.");
        let mark = (event.expected == Some(false)).then_some('!');
        let cells = vec![
            // Without the fraction of the second.
            Cell::text(time.chars().take(TIME).collect::<String>().replace('T', " ")),
            Cell::text(time.parse().map(|time| ago(time, now)).unwrap_or_default()),
            Cell::text(kind),
            Cell::text(port(event)),
            who(event).marked(mark),
            Cell::facts(what(event, count)),
        ];
        let style = Tone::of_severity(event.severity.as_deref()).map(Tone::style);
        self.0.row(&Row { style, cells })
    }
}

/// How long ago `then` was, in its largest unit.
pub(crate) fn ago(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_second().saturating_sub(then.as_second()).max(0).unsigned_abs();
    let unit = [86_400, 3_600, 60, 1].into_iter().find(|unit| seconds >= *unit).unwrap_or(1);
    quantity::format_duration(Duration::from_secs(seconds / unit * unit))
}

fn port(event: &EventSummary) -> String {
    match (event.port.or(event.local_port), &event.transport) {
        (Some(number), Some(transport)) => format!("{number}/{transport}"),
        (Some(number), None) => number.to_string(),
        (None, _) => String::new(),
    }
}

/// The hook, the process, or the peer that the event is about.
fn who(event: &EventSummary) -> Cell {
    if let Some(hook) = &event.hook {
        let interface = event.interface.as_ref();
        let both = interface.map(|interface| format!("{hook} {interface}"));
        return Cell::text(both.unwrap_or_else(|| hook.clone()));
    }
    let name = event.executable_name.as_deref().or(event.thread_name.as_deref());
    match (name, event.pid) {
        (Some(name), Some(pid)) => Cell::program(name, format!("[{pid}]"), place(event)),
        (None, Some(pid)) => Cell::text(pid.to_string()),
        (Some(name), None) => Cell::text(name),
        (None, None) => Cell::text(match event.peers {
            Some(peers @ 2..) => format!("{peers} peers"),
            _ => event.peer_address.clone().unwrap_or_default(),
        }),
    }
}

/// The unit or the container of the process.
fn place(event: &EventSummary) -> Option<&str> {
    let container = event.container_name.as_deref().or(event.container_id.as_deref());
    event.systemd_unit.as_deref().or(container)
}

/// What else is known of the event, the most informative first. `count` is how many alike it stands for.
fn what(event: &EventSummary, count: u64) -> Vec<String> {
    let mut first = first_fact(event);
    let expected = event.expected.map(|is| if is { "expected" } else { "not expected" }.to_owned());
    let peer = event.peer_address.as_ref().map(|peer| format!("peer {peer}"));
    let others = [expected, peer.filter(|_| event.pid.is_some()), event.reason.clone()];
    let others: Vec<String> = others.into_iter().flatten().filter(|fact| *fact != first).collect();
    if count > 1 && event.count.is_none() {
        first = format!("{first} ×{count}").trim_start().to_owned();
    }
    [first].into_iter().chain(others).filter(|fact| !fact.is_empty()).collect()
}

/// The most informative field for this kind of event.
fn first_fact(event: &EventSummary) -> String {
    let slept = event.dormant_for_seconds.map(|seconds| {
        let seconds = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        format!("slept {}", quantity::format_duration(coarse(seconds)))
    });
    let is_hook = event.hook.is_some();
    slept
        .or_else(|| repeated(event))
        .or_else(|| evidence(event))
        .or_else(|| event.errno.as_ref().map(ToString::to_string))
        .or_else(|| event.verdict.clone())
        .or_else(|| answered_by(event))
        .or_else(|| event.filter.clone())
        .or_else(|| event.agent_version.clone())
        .or_else(|| event.mechanism.clone().filter(|_| is_hook))
        .or_else(|| is_hook.then(|| "not attached".to_owned()))
        .or_else(|| event.local_address.clone())
        .or_else(|| event.peer_address.clone())
        .or_else(|| event.reason.clone())
        .unwrap_or_default()
}

/// What was found out about an executable, the most telling first.
fn evidence(event: &EventSummary) -> Option<String> {
    let is_evidence = event.name.as_deref() == Some("ghostport.executable");
    let version = event.package_version.as_deref().map(|version| format!(" {version}"));
    let package = event.package.as_ref().map(|package| {
        let modified = if event.is_modified == Some(true) { " MODIFIED" } else { "" };
        format!("{package}{}{modified}", version.unwrap_or_default())
    });
    let mark = match (event.is_memfd, event.is_deleted) {
        (true, _) => Some("memfd".to_owned()),
        (false, true) => Some("deleted".to_owned()),
        _ => None,
    };
    let is_plain = mark.is_none();
    let package = package.or_else(|| is_plain.then(|| "no package".to_owned()));
    let sha256 = event.sha256.as_ref().map(|sha256| format!("sha256 {sha256}"));
    let facts = [mark, package, event.script.clone(), sha256];
    is_evidence.then(|| facts.into_iter().flatten().collect::<Vec<_>>().join(", "))
}

/// `redirect → 10.0.0.1:8080`.
fn answered_by(event: &EventSummary) -> Option<String> {
    let path = event.path.as_ref().filter(|_| event.filter.is_none())?;
    Some(match &event.path_target {
        Some(target) => format!("{path} → {target}"),
        None => path.clone(),
    })
}

/// What the event stands for, and how often that was: `http ×1200`.
fn repeated(event: &EventSummary) -> Option<String> {
    let of = event.verdict.as_deref().or(event.summary_of.as_deref())?;
    event.summary_of.as_ref()?;
    Some(format!("{of} ×{}", event.count?))
}

/// The two largest units: the seconds of a week do not matter.
fn coarse(duration: Duration) -> Duration {
    let seconds = duration.as_secs();
    let unit = match seconds {
        86_400.. => 3_600,
        3_600.. => 60,
        _ => 1,
    };
    Duration::from_secs(seconds / unit * unit)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn table(width: usize) -> EventTable {
        EventTable::new(Some(width), false)
    }

    fn now() -> Timestamp {
        "2026-11-21T08:34:10Z".parse().expect("a time")
    }

    #[test]
    fn long_names_and_addresses_are_cut() {
        let line = r#"{"time":"2026-11-21T08:30:00.123456789Z","event.name":"ghostport.unexpected_owner",
            "network.transport":"udp","network.local.port":65535,"process.pid":4194304,
            "process.executable.name":"systemd-resolved","network.local.address":"2001:db8::1234:5678"}"#;
        assert_eq!(
            table(80).row(line, now()),
            "2026-11-21 08:30:00 unexpected_owner 65535/udp systemd-…[4194304] 2001:db8::123…"
        );
        assert_eq!(table(80).row(line, now()).chars().count(), 80);
    }

    #[test]
    fn dormancy_is_shown_in_two_units() {
        let cases = [(59, "59s"), (3_661, "1h1m"), (90_061, "1d1h"), (0, "0s")];
        for (seconds, shown) in cases {
            let event = EventSummary {
                dormant_for_seconds: Some(f64::from(seconds)),
                ..Default::default()
            };
            assert_eq!(what(&event, 1), [format!("slept {shown}")]);
        }
    }

    #[test]
    fn a_summary_says_of_what_and_how_often() {
        let line = r#"{"event.name":"ghostport.summary","ghostport.summary_of":"identified",
            "ghostport.verdict":"http","ghostport.count":1200,"network.peer.address":"192.0.2.7",
            "network.transport":"tcp","ghostport.port":2948}"#;
        assert_eq!(
            table(80).row(line, now()).trim_start(),
            "summary          2948/tcp  192.0.2.7          http ×1200"
        );
    }

    const BIND: &str = r#"{"time":"2026-11-21T08:30:00.5Z","event.name":"ghostport.bind",
        "ghostport.severity":"critical","network.transport":"tcp","network.local.port":2948,
        "process.pid":4242,"process.executable.name":"python3","ghostport.systemd_unit":"cron.service",
        "network.local.address":"0.0.0.0","ghostport.expected":false}"#;

    #[test]
    fn a_wide_table_has_more_and_a_pipe_has_everything() {
        assert_eq!(
            table(80).row(BIND, now()),
            "2026-11-21 08:30:00 bind             2948/tcp !python3[4242]      0.0.0.0"
        );
        assert_eq!(
            table(120).row(BIND, now()),
            "2026-11-21 08:30:00   4m bind                2948/tcp !python3[4242] cron.service   \
             0.0.0.0, not expected"
        );
        let long = BIND.replace("cron", &"c".repeat(200)).replace("0.0.0.0", &"f".repeat(100));
        let row = EventTable::new(None, false).row(&long, now());
        assert!(row.contains(&"f".repeat(100)) && row.contains(&"c".repeat(200)), "{row}");
        assert!(table(120).row(&long, now()).chars().count() <= 120);
    }

    #[test]
    fn severities_are_coloured_where_colours_are_wanted() {
        let row = EventTable::new(Some(80), true).row(BIND, now());
        assert!(row.starts_with("\u{1b}[") && row.ends_with("\u{1b}[0m"), "{row:?}");
        assert!(!table(80).row(BIND, now()).contains('\u{1b}'));
    }

    #[test]
    fn ages_have_one_unit() {
        let now = Timestamp::from_second(200_000).expect("a time");
        for (seconds, text) in [(0, "0s"), (59, "59s"), (3_700, "1h"), (199_999, "2d"), (-9, "0s")]
        {
            let then = Timestamp::from_second(200_000 - seconds).expect("a time");
            assert_eq!(ago(then, now), text);
        }
    }

    #[test]
    fn control_characters_are_escaped() {
        let row = table(80).row("{\"process.executable.name\":\"\\u001b[2Jx\"}", now());
        assert!(row.contains("\\u{1b}[2Jx"), "{row:?}");
    }

    proptest! {
        #[test]
        fn every_row_fits(name in ".{0,40}", pid in any::<u32>(), reason in ".{0,40}") {
            let event = serde_json::json!({
                "process.executable.name": name, "process.pid": pid, "ghostport.reason": reason,
            });
            let row = table(80).row(&event.to_string(), now());
            prop_assert!(row.chars().count() <= 80, "{row}");
            for width in [40, 99, 100, 101, 160, 200] {
                let row = table(width).row(&event.to_string(), now());
                prop_assert!(row.chars().count() <= width.max(80), "{width}: {row}");
            }
            prop_assert!(!row.contains(char::is_control));
        }

        #[test]
        fn no_line_panics(line in ".{0,60}") {
            let _ = table(80).row(&line, now());
        }
    }
}
