//! What listens on the host, on any port: the unexpected ones first.

use jiff::Timestamp;
use ratatui::text::Line;

use super::theme::{DIM, HEADING, Theme};
use crate::{
    api::{
        alarm::Alarm,
        listener::{Listener, Listeners},
    },
    terminal::{
        listener_table::{COLUMNS, row},
        plural::counted,
        table::{Row, Table},
    },
};

/// `2 unexpected listeners (l)`; `None` if there is none, or none is watched.
pub(super) fn summary(listeners: &Listeners) -> Option<String> {
    match count(listeners, Some(false)) {
        0 => None,
        many => Some(counted(many, "unexpected listener", "unexpected listeners") + " (l)"),
    }
}

/// What they are altogether, and a line for each that contains `filter`.
pub(super) fn lines(
    listeners: &Listeners,
    filter: &str,
    now: Timestamp,
    width: usize,
    theme: Theme,
) -> Vec<Line<'static>> {
    if !listeners.watched {
        let why =
            "The agent does not watch listeners, or has not answered yet: see listeners.watch.";
        return vec![Line::styled(why, DIM)];
    }
    let mut sorted: Vec<&Listener> = listeners.listeners.iter().collect();
    sorted.sort_by_key(|listener| match listener.socket.expected {
        Some(false) => 0,
        None => 1,
        Some(true) => 2,
    });
    let several = has_several_namespaces(&sorted);
    let wanted = filter.to_lowercase();
    let rows: Vec<(&Listener, Row)> = sorted
        .into_iter()
        .map(|listener| (listener, row(listener, several, Some(now))))
        .filter(|(_, row)| row.contains(&wanted))
        .collect();
    let all: Vec<Row> = rows.iter().map(|(_, row)| row.clone()).collect();
    let table = Table::of_rows(&COLUMNS, &all, Some(width), false);
    let mut lines = vec![Line::raw(sum(listeners)), Line::styled(table.heading(), HEADING)];
    lines.extend(rows.iter().map(|(listener, row)| {
        let alarm = match listener.socket.expected {
            Some(true) => Alarm::Expected,
            Some(false) => Alarm::Critical,
            None => Alarm::Warning,
        };
        Line::styled(table.row(row), theme.alarm(alarm))
    }));
    lines
}

fn sum(listeners: &Listeners) -> String {
    let learning = if listeners.learning { "; the baseline is being learned" } else { "" };
    format!(
        "{}: {} unexpected (!), {} not known (?); * reachable from elsewhere{learning}",
        counted(listeners.listeners.len(), "listener", "listeners"),
        count(listeners, Some(false)),
        count(listeners, None),
    )
}

fn count(listeners: &Listeners, expected: Option<bool>) -> usize {
    listeners.listeners.iter().filter(|listener| listener.socket.expected == expected).count()
}

fn has_several_namespaces(listeners: &[&Listener]) -> bool {
    let mut namespaces = listeners.iter().filter_map(|listener| listener.socket.netns_inode);
    let first = namespaces.next();
    namespaces.any(|other| Some(other) != first)
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    pub(in crate::commands::top) fn listeners() -> Listeners {
        let listener = |port: u16, name: &str, unit: &str, expected: Option<bool>| {
            json!({
                "transport": "tcp", "family": "ipv4", "local_address": "0.0.0.0",
                "local_port": port, "side": "local", "scope": "world", "expected": expected,
                "since": "2026-11-21T08:00:00Z", "netns_inode": 4026531840_u32,
                "holders": [{"pid": 7, "name": name, "systemd_unit": unit}],
            })
        };
        let all = [
            listener(22, "sshd", "ssh.service", Some(true)),
            listener(5432, "a-program-with-a-long-name", "postgresql@17-main.service", None),
            listener(4444, "nc\u{1b}[2J", "session-3.scope", Some(false)),
        ];
        let answer = json!({"watched": true, "learning": false, "listeners": all});
        serde_json::from_value(answer).expect("listeners")
    }

    fn texts(filter: &str) -> Vec<String> {
        let now = "2026-11-21T08:30:09Z".parse().expect("a time");
        let lines = lines(&listeners(), filter, now, 80, Theme { in_colour: false });
        lines.iter().map(Line::to_string).collect()
    }

    #[test]
    fn the_unexpected_come_first() {
        let texts = texts("");
        assert_eq!(
            texts[0],
            "3 listeners: 1 unexpected (!), 1 not known (?); * reachable from elsewhere"
        );
        for (text, begin) in texts[2..].iter().zip([
            "!* tcp 0.0.0.0:4444",
            "?* tcp 0.0.0.0:5432",
            " * tcp 0.0.0.0:22",
        ]) {
            assert!(text.starts_with(begin), "{text}");
            assert!(!text.contains('\u{1b}'), "{text}");
        }
        assert_eq!(summary(&listeners()).as_deref(), Some("1 unexpected listener (l)"));
    }

    #[test]
    fn a_filter_leaves_those_that_contain_it() {
        let texts = texts("SSH");
        assert_eq!(texts.len(), 3, "{texts:#?}");
        assert!(texts[2].contains("sshd[7]"), "{texts:#?}");
    }

    #[test]
    fn an_agent_that_watches_none_says_so() {
        let now = Timestamp::UNIX_EPOCH;
        let none = lines(&Listeners::default(), "", now, 80, Theme { in_colour: false });
        assert!(none[0].to_string().contains("listeners.watch"));
        assert_eq!(summary(&Listeners::default()), None);
    }
}
