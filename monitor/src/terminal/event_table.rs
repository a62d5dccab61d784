//! An event as one row of a table that fits 80 columns.

use std::time::Duration;

use super::escape::escaped;
use crate::{api::event::EventSummary, config::quantity};

/// Widths of the columns but the last, which has what is left of 80.
const TIME: usize = 19;
const EVENT: usize = 16;
const PORT: usize = 9;
const WHO: usize = 18;
const WHAT: usize = 14;

/// The heading. Times are UTC.
pub(crate) fn heading() -> String {
    columns(["TIME (UTC)", "EVENT", "PORT", "WHO", "WHAT"].map(str::to_owned))
}

/// The row of an event, which is one line of JSON. Unknown fields are left empty.
pub(crate) fn row(line: &str) -> String {
    let event: EventSummary = serde_json::from_str(line).unwrap_or_default();
    let time = event.time.as_deref().unwrap_or_default();
    let kind = event.name.as_deref().unwrap_or_default();
    columns([
        // `2026-11-21T08:30:00`, without the fraction of the second.
        time.chars().take(TIME).collect::<String>().replace('T', " "),
        kind.trim_start_matches("ghostport.").to_owned(),
        port(&event),
        who(&event),
        what(&event),
    ])
}

fn columns(cells: [String; 5]) -> String {
    let [time, event, port, who, what] = cells.map(|cell| escaped(&cell).into_owned());
    let row = format!(
        "{:TIME$} {:EVENT$} {:PORT$} {:WHO$} {}",
        fitting(&time, TIME),
        fitting(&event, EVENT),
        fitting(&port, PORT),
        fitting(&who, WHO),
        fitting(&what, WHAT),
    );
    row.trim_end().to_owned()
}

fn port(event: &EventSummary) -> String {
    match (event.port.or(event.local_port), &event.transport) {
        (Some(number), Some(transport)) => format!("{number}/{transport}"),
        (Some(number), None) => number.to_string(),
        (None, _) => String::new(),
    }
}

/// The hook, the process, or the peer that the event is about.
fn who(event: &EventSummary) -> String {
    if let Some(hook) = &event.hook {
        let interface = event.interface.as_ref();
        return interface.map_or(hook.clone(), |interface| format!("{hook} {interface}"));
    }
    let name = event.executable_name.as_deref().or(event.thread_name.as_deref());
    match (name, event.pid) {
        (Some(name), Some(pid)) => {
            let pid = pid.to_string();
            // The end of a long name is cut rather than the process id.
            let room = WHO.saturating_sub(pid.len() + 2);
            format!("{}[{pid}]", fitting(&escaped(name), room))
        }
        (None, Some(pid)) => pid.to_string(),
        (Some(name), None) => name.to_owned(),
        (None, None) => event.peer_address.clone().unwrap_or_default(),
    }
}

/// The most informative field for this kind of event.
fn what(event: &EventSummary) -> String {
    let slept = event.dormant_for_seconds.map(|seconds| {
        let seconds = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        format!("slept {}", quantity::format_duration(coarse(seconds)))
    });
    let is_hook = event.hook.is_some();
    slept
        .or_else(|| repeated(event))
        .or_else(|| event.errno.as_ref().map(ToString::to_string))
        .or_else(|| event.verdict.clone())
        .or_else(|| event.filter.clone())
        .or_else(|| event.agent_version.clone())
        .or_else(|| event.mechanism.clone().filter(|_| is_hook))
        .or_else(|| is_hook.then(|| "not attached".to_owned()))
        .or_else(|| event.local_address.clone())
        .or_else(|| event.peer_address.clone())
        .or_else(|| event.reason.clone())
        .unwrap_or_default()
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

/// As much of `text` as fits.
fn fitting(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut shown: String = text.chars().take(width.saturating_sub(1)).collect();
    shown.push('…');
    shown
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn long_names_and_addresses_are_cut() {
        let line = r#"{"time":"2026-11-21T08:30:00.123456789Z","event.name":"ghostport.unexpected_owner",
            "network.transport":"udp","network.local.port":65535,"process.pid":4194304,
            "process.executable.name":"systemd-resolved","network.local.address":"2001:db8::1234:5678"}"#;
        assert_eq!(
            row(line),
            "2026-11-21 08:30:00 unexpected_owner 65535/udp systemd-…[4194304] 2001:db8::123…"
        );
        assert_eq!(row(line).chars().count(), 80);
    }

    #[test]
    fn dormancy_is_shown_in_two_units() {
        let cases = [(59, "59s"), (3_661, "1h1m"), (90_061, "1d1h"), (0, "0s")];
        for (seconds, shown) in cases {
            let event = EventSummary {
                dormant_for_seconds: Some(f64::from(seconds)),
                ..Default::default()
            };
            assert_eq!(what(&event), format!("slept {shown}"));
        }
    }

    #[test]
    fn a_summary_says_of_what_and_how_often() {
        let line = r#"{"event.name":"ghostport.summary","ghostport.summary_of":"identified",
            "ghostport.verdict":"http","ghostport.count":1200,"network.peer.address":"192.0.2.7",
            "network.transport":"tcp","ghostport.port":2948}"#;
        assert_eq!(
            row(line).trim_start(),
            "summary          2948/tcp  192.0.2.7          http ×1200"
        );
    }

    #[test]
    fn control_characters_are_escaped() {
        let row = row("{\"process.executable.name\":\"\\u001b[2Jx\"}");
        assert!(row.contains("\\u{1b}[2Jx"), "{row:?}");
    }

    proptest! {
        #[test]
        fn every_row_fits(name in ".{0,40}", pid in any::<u32>(), reason in ".{0,40}") {
            let event = serde_json::json!({
                "process.executable.name": name, "process.pid": pid, "ghostport.reason": reason,
            });
            let row = row(&event.to_string());
            prop_assert!(row.chars().count() <= 80, "{row}");
            prop_assert!(!row.contains(char::is_control));
        }

        #[test]
        fn no_line_panics(line in ".{0,60}") {
            let _ = row(&line);
        }
    }
}
