//! What is shown, and how keys and deliveries change it. No I/O and no clock.

use std::{cmp::Reverse, collections::VecDeque, time::Duration};

use jiff::Timestamp;

use super::counts::{Count, Counts, Flow};
use crate::{api::port::Port, config::quantity, terminal::event_table};

/// Events that are kept: more than any terminal has lines.
const MAX_EVENTS: usize = 500;

/// By what the ports are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sort {
    #[default]
    Port,
    State,
    LastPacket,
    Packets,
    Bytes,
    Attempts,
}

impl Sort {
    const ALL: [Self; 6] =
        [Self::Port, Self::State, Self::LastPacket, Self::Packets, Self::Bytes, Self::Attempts];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Port => "port",
            Self::State => "state",
            Self::LastPacket => "last packet",
            Self::Packets => "packets",
            Self::Bytes => "bytes",
            Self::Attempts => "attempts",
        }
    }

    fn next(self) -> Self {
        let index = Self::ALL.iter().position(|sort| *sort == self).unwrap_or(0);
        Self::ALL[(index + 1) % Self::ALL.len()]
    }
}

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Quit,
    /// So many rows down, or up.
    Move(isize),
    First,
    Last,
    Sort,
    Reverse,
}

/// One port with its counters and rates.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) port: Port,
    pub(super) count: Count,
    /// Per second, since the look before; `None` before the second look.
    pub(super) rate: Option<Count>,
}

/// Everything that is shown.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) rows: Vec<Row>,
    pub(super) selected: usize,
    pub(super) sort: Sort,
    pub(super) reversed: bool,
    /// Newest last, each a line of the table that `ghostport events` prints.
    pub(super) events: VecDeque<String>,
    /// Why the data is not current.
    pub(super) trouble: Option<String>,
    counted: Option<(Duration, Counts)>,
}

impl Model {
    /// The ports and their counters as they were at `at`, from any beginning.
    pub(super) fn look(&mut self, ports: Vec<Port>, counts: Counts, at: Duration) {
        let before = self.counted.take();
        let row = |port: Port| {
            let number = port.port;
            let count = counts.get(&number).copied().unwrap_or_default();
            let rate = before.as_ref().map(|(then, before)| {
                let before = before.get(&number).copied().unwrap_or_default();
                rate(&before, &count, at.saturating_sub(*then))
            });
            Row { port, count, rate }
        };
        let kept = self.selected_port();
        self.rows = ports.into_iter().map(row).collect();
        self.counted = Some((at, counts));
        self.trouble = None;
        self.arrange(kept);
    }

    /// An event as one line of JSON.
    pub(super) fn add_event(&mut self, event: &str) {
        self.events.push_back(event_table::row(event));
        while self.events.len() > MAX_EVENTS {
            self.events.pop_front();
        }
    }

    /// Handles a key. `false` if it ends the program.
    pub(super) fn handle(&mut self, command: Command) -> bool {
        let last = self.rows.len().saturating_sub(1);
        match command {
            Command::Quit => return false,
            Command::Move(by) => self.selected = self.selected.saturating_add_signed(by).min(last),
            Command::First => self.selected = 0,
            Command::Last => self.selected = last,
            Command::Sort | Command::Reverse => {
                if command == Command::Sort {
                    self.sort = self.sort.next();
                } else {
                    self.reversed = !self.reversed;
                }
                let kept = self.selected_port();
                self.arrange(kept);
            }
        }
        true
    }

    /// The row that is selected.
    pub(super) fn selection(&self) -> Option<&Row> {
        self.rows.get(self.selected)
    }

    /// How many ports are awake, and how many have sockets.
    pub(super) fn summary(&self) -> (usize, usize) {
        let awake = self.rows.iter().filter(|row| row.port.dormant == Some(false)).count();
        (awake, self.rows.iter().filter(|row| !row.port.sockets.is_empty()).count())
    }

    fn selected_port(&self) -> Option<u16> {
        self.selection().map(|row| row.port.port)
    }

    /// Sorts, and keeps the selection on its port.
    fn arrange(&mut self, kept: Option<u16>) {
        // The highest values come first, equal ones by port.
        let flow = |row: &Row| row.rate.unwrap_or_default();
        let most = |value: f64| Reverse(value.max(0.0).to_bits());
        match self.sort {
            Sort::Port => self.rows.sort_by_key(|row| row.port.port),
            Sort::State => {
                self.rows.sort_by_key(|row| (Reverse(row.port.state), row.port.port));
            }
            Sort::LastPacket => {
                let key = |row: &Row| (Reverse(row.port.last_packet), row.port.port);
                self.rows.sort_by_key(key);
            }
            Sort::Packets => self.rows.sort_by_key(|row| {
                let rate = flow(row);
                (most(rate.ingress.packets + rate.egress.packets), row.port.port)
            }),
            Sort::Bytes => self.rows.sort_by_key(|row| {
                let rate = flow(row);
                (most(rate.ingress.bytes + rate.egress.bytes), row.port.port)
            }),
            Sort::Attempts => {
                self.rows.sort_by_key(|row| (most(row.count.attempts), row.port.port));
            }
        }
        if self.reversed {
            self.rows.reverse();
        }
        let at = self.rows.iter().position(|row| Some(row.port.port) == kept);
        self.selected = at.unwrap_or(self.selected).min(self.rows.len().saturating_sub(1));
    }
}

/// What was counted between two scrapes, a second. Counters that have shrunk were reset.
fn rate(before: &Count, after: &Count, between: Duration) -> Count {
    let seconds = between.as_secs_f64();
    let rate = |before: f64, after: f64| {
        let grown = if after < before { after } else { after - before };
        if seconds > 0.0 { grown / seconds } else { 0.0 }
    };
    let flow = |before: &Flow, after: &Flow| Flow {
        packets: rate(before.packets, after.packets),
        bytes: rate(before.bytes, after.bytes),
    };
    Count {
        ingress: flow(&before.ingress, &after.ingress),
        egress: flow(&before.egress, &after.egress),
        attempts: rate(before.attempts, after.attempts),
    }
}

/// A number in at most five columns: `999`, `9.9k`, `123k`, `1.2M`.
pub(super) fn short(number: f64) -> String {
    const UNITS: [&str; 6] = ["", "k", "M", "G", "T", "P"];
    let mut value = number;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    // Less than one a second is not nothing.
    if unit == 0 && value > 0.0 && value < 9.95 && value.fract() != 0.0 {
        return format!("{value:.1}");
    }
    if unit > 0 && value < 9.95 {
        return format!("{value:.1}{}", UNITS[unit]);
    }
    format!("{value:.0}{}", UNITS[unit])
}

/// How long ago `then` was, in its largest unit.
pub(super) fn ago(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_second().saturating_sub(then.as_second()).max(0).unsigned_abs();
    let unit = [86_400, 3_600, 60, 1].into_iter().find(|unit| seconds >= *unit).unwrap_or(1);
    quantity::format_duration(Duration::from_secs(seconds / unit * unit))
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A port as the agent answers it; `sockets` need only the keys that matter.
    pub(in crate::commands::top) fn port(number: u16, state: &str, sockets: &[Value]) -> Port {
        let dormant = state == "quiet";
        let with_defaults = |socket: &Value| {
            let mut whole = json!({
                "transport": "udp", "family": "ipv4", "local_address": "0.0.0.0",
                "local_port": number, "side": "local",
            });
            let keys = socket.as_object().into_iter().flatten();
            keys.for_each(|(key, value)| whole[key] = value.clone());
            whole
        };
        let port = json!({
            "port": number, "service": "wap-push", "state": state, "dormant": dormant,
            "dormant_after_seconds": 604800, "awakenings": {"packet": 1, "bind": 0},
            "bound_sockets": {"tcp": 0, "udp": 0}, "unexpected_binds": {"tcp": 0, "udp": 0},
            "dormant_since": dormant.then_some("2026-11-20T08:00:00Z"),
            "last_packet": (!dormant).then_some("2026-11-21T08:00:00Z"),
            "sockets": sockets.iter().map(with_defaults).collect::<Vec<_>>(),
        });
        serde_json::from_value(port).expect("a port")
    }

    pub(in crate::commands::top) fn counts(numbers: &[(u16, f64)]) -> Counts {
        let count = |packets: f64| Count {
            ingress: Flow { packets, bytes: packets * 60.0 },
            egress: Flow::default(),
            attempts: packets,
        };
        numbers.iter().map(|(port, packets)| (*port, count(*packets))).collect()
    }

    fn numbers(model: &Model) -> Vec<u16> {
        model.rows.iter().map(|row| row.port.port).collect()
    }

    fn quiet(numbers: &[u16]) -> Vec<Port> {
        numbers.iter().map(|number| port(*number, "quiet", &[])).collect()
    }

    #[test]
    fn rates_are_per_second_between_two_looks() {
        let mut model = Model::default();
        model.look(quiet(&[7]), counts(&[(7, 100.0)]), Duration::from_secs(10));
        assert_eq!(model.rows[0].rate, None, "one look says nothing of a rate");
        model.look(quiet(&[7]), counts(&[(7, 150.0)]), Duration::from_secs(12));
        let rate = model.rows[0].rate.expect("two looks");
        assert_eq!((rate.ingress.packets, rate.ingress.bytes), (25.0, 1500.0));
        // Another agent has counted three since it began.
        model.look(quiet(&[7]), counts(&[(7, 3.0)]), Duration::from_secs(13));
        assert_eq!(model.rows[0].rate.expect("a rate").ingress.packets, 3.0);
    }

    #[test]
    fn the_selection_stays_on_its_port() {
        let mut model = Model::default();
        model.look(quiet(&[1, 2, 3]), Counts::new(), Duration::ZERO);
        assert!(model.handle(Command::Move(2)));
        model.look(quiet(&[3, 4, 5, 6]), Counts::new(), Duration::from_secs(1));
        assert_eq!(model.selected_port(), Some(3));
        model.handle(Command::Reverse);
        assert_eq!((numbers(&model), model.selected_port()), (vec![6, 5, 4, 3], Some(3)));
        model.handle(Command::Move(-100));
        assert_eq!(model.selected, 0);
        model.handle(Command::Last);
        assert_eq!(model.selected, 3);
        model.look(Vec::new(), Counts::new(), Duration::from_secs(2));
        assert!(model.selection().is_none() && model.handle(Command::Move(1)));
        assert!(!model.handle(Command::Quit));
    }

    #[test]
    fn every_order_begins_with_the_highest_value() {
        let mut model = Model::default();
        let ports = || vec![port(1, "quiet", &[]), port(2, "bound", &[])];
        model.look(ports(), counts(&[(1, 0.0), (2, 0.0)]), Duration::ZERO);
        model.look(ports(), counts(&[(1, 1.0), (2, 9.0)]), Duration::from_secs(1));
        let mut seen = Vec::new();
        while seen.last() != Some(&Sort::Attempts) {
            model.handle(Command::Sort);
            assert_eq!(numbers(&model), [2, 1], "{:?}", model.sort);
            seen.push(model.sort);
        }
        model.handle(Command::Sort);
        assert_eq!((model.sort, numbers(&model)), (Sort::Port, vec![1, 2]));
    }

    #[test]
    fn the_number_of_events_is_limited() {
        let mut model = Model::default();
        for number in 0..2 * MAX_EVENTS {
            model.add_event(
                &json!({ "event.name": "ghostport.bind", "process.pid": number }).to_string(),
            );
        }
        assert_eq!(model.events.len(), MAX_EVENTS);
        assert!(model.events.back().is_some_and(|line| line.contains("999")));
    }

    #[test]
    fn numbers_are_short() {
        let cases = [
            (0.0, "0"),
            (0.5, "0.5"),
            (3.0, "3"),
            (42.4, "42"),
            (999.0, "999"),
            (999.6, "1.0k"),
            (1234.0, "1.2k"),
            (123_456.0, "123k"),
            (999_600.0, "1.0M"),
            (5e12, "5.0T"),
        ];
        for (number, text) in cases {
            assert_eq!(short(number), text);
        }
        assert!(short(u64::MAX as f64).len() <= 6);
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
}
