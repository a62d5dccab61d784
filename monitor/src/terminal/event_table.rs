//! An event as one row of a table that fits 80 columns.

use std::time::Duration;

use serde_json::Value;

use crate::config::quantity;

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

/// The event that `line` is, as JSON. What it does not say is left empty.
pub(crate) fn row(line: &str) -> String {
    let event: Value = serde_json::from_str(line).unwrap_or_default();
    let time = text(&event, "time").unwrap_or_default();
    let kind = text(&event, "event.name").unwrap_or_default();
    columns([
        // `2026-11-21T08:30:00`, and no fraction of the second.
        time.chars().take(TIME).collect::<String>().replace('T', " "),
        kind.trim_start_matches("ghostport.").to_owned(),
        port(&event),
        who(&event),
        what(&event),
    ])
}

fn columns([time, event, port, who, what]: [String; 5]) -> String {
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

fn port(event: &Value) -> String {
    let number = text(event, "ghostport.port").or_else(|| text(event, "network.local.port"));
    match (number, text(event, "network.transport")) {
        (Some(number), Some(transport)) => format!("{number}/{transport}"),
        (number, _) => number.unwrap_or_default(),
    }
}

fn who(event: &Value) -> String {
    if let Some(hook) = text(event, "ghostport.hook") {
        let interface = text(event, "network.interface.name");
        return interface.map_or(hook.clone(), |interface| format!("{hook} {interface}"));
    }
    let name = text(event, "process.executable.name").or_else(|| text(event, "thread.name"));
    match (name, text(event, "process.pid")) {
        (Some(name), Some(pid)) => {
            // The pid says more than the end of a name.
            let room = WHO.saturating_sub(pid.len() + 2);
            format!("{}[{pid}]", fitting(&name, room))
        }
        (name, pid) => {
            name.or(pid).or_else(|| text(event, "network.peer.address")).unwrap_or_default()
        }
    }
}

/// What is most telling of this event.
fn what(event: &Value) -> String {
    let slept = event["ghostport.dormant_for_seconds"].as_f64().map(|seconds| {
        let seconds = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        format!("slept {}", quantity::format_duration(coarse(seconds)))
    });
    let of = |key| text(event, key);
    let is_hook = || of("ghostport.hook").is_some();
    slept
        .or_else(|| of("ghostport.errno"))
        .or_else(|| of("ghostport.verdict"))
        .or_else(|| of("service.version"))
        .or_else(|| of("ghostport.mechanism").filter(|_| is_hook()))
        .or_else(|| is_hook().then(|| "not attached".to_owned()))
        .or_else(|| of("network.local.address"))
        .or_else(|| of("ghostport.reason"))
        .unwrap_or_default()
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

/// A string or number of the event. What programs call themselves may hold anything, and a terminal
/// obeys some of it.
fn text(event: &Value, key: &str) -> Option<String> {
    let text = match &event[key] {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    Some(text.chars().map(|char| if char.is_control() { '?' } else { char }).collect())
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
            let event = serde_json::json!({ "ghostport.dormant_for_seconds": seconds });
            assert_eq!(what(&event), format!("slept {shown}"));
        }
    }

    #[test]
    fn a_terminal_is_told_nothing() {
        let row = row("{\"process.executable.name\":\"\\u001b[2Jx\"}");
        assert!(row.contains("?[2Jx"), "{row:?}");
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
