//! What is shown, and how keys and deliveries change it. No I/O and no clock.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use super::{
    command::{Command, letter_command},
    counts::{Count, Counts, Flow},
    events::{Events, MAX_LINES},
    row::Row,
    sort::Sort,
};
use crate::api::{
    agent::AgentFacts, alarm::Alarm, history::History, listener::Listeners, port::Port,
    talker::PortTalkers,
};

/// Hours that are kept.
const MAX_HISTORIES: usize = 64;

/// What the keys move in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Focus {
    #[default]
    Ports,
    Events,
}

/// An answer about all ports.
#[derive(Clone, Debug)]
pub(super) struct Look {
    pub(super) ports: Vec<Port>,
    pub(super) counts: Counts,
    pub(super) agent: Option<AgentFacts>,
}

/// Where things were drawn last, for the mouse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Places {
    /// Row of the screen with the first port, and the index of that port.
    pub(super) first_port: (u16, usize),
    /// Rows of the screen with the first port, and behind the last one.
    pub(super) ports: (u16, u16),
    /// Likewise of the events.
    pub(super) events: (u16, u16),
}

/// Everything that is shown.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) rows: Vec<Row>,
    /// Index among the rows that the filter leaves.
    pub(super) selected: usize,
    pub(super) sort: Sort,
    pub(super) reversed: bool,
    /// Ports must contain it: in number, service, state or holders.
    pub(super) filter: String,
    /// Whether the filter is being entered.
    pub(super) is_filtering: bool,
    pub(super) is_paused: bool,
    pub(super) shows_help: bool,
    /// The port that is shown alone.
    pub(super) detail: Option<u16>,
    /// Lines of the detail above the window.
    pub(super) detail_scroll: usize,
    pub(super) focus: Focus,
    pub(super) events: Events,
    /// Events below the window.
    pub(super) events_scroll: usize,
    pub(super) histories: BTreeMap<u16, History>,
    pub(super) talkers: Vec<PortTalkers>,
    pub(super) agent: Option<AgentFacts>,
    /// What listens on the host, on any port.
    pub(super) listeners: Listeners,
    /// Whether that is shown alone.
    pub(super) shows_listeners: bool,
    /// Why the data is not current.
    pub(super) trouble: Option<String>,
    pub(super) places: Places,
    counted: Option<(Duration, Counts)>,
    /// What arrived while the picture was stopped.
    waiting: Option<(Look, Duration)>,
    waiting_events: VecDeque<String>,
}

impl Model {
    /// An answer about the ports as they were at `at`, from any beginning.
    pub(super) fn look(&mut self, look: Look, at: Duration) {
        if self.is_paused {
            self.waiting = Some((look, at));
            return;
        }
        let Look { ports, counts, agent } = look;
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
        let kept = self.kept_port();
        self.rows = ports.into_iter().map(row).collect();
        self.counted = Some((at, counts));
        self.agent = agent;
        self.trouble = None;
        self.arrange(kept);
    }

    /// An event as one line of JSON.
    pub(super) fn add_event(&mut self, event: &str) {
        if self.is_paused {
            if self.waiting_events.len() == MAX_LINES {
                self.waiting_events.pop_front();
            }
            self.waiting_events.push_back(event.to_owned());
            return;
        }
        // What is read stays where it is, until it is the oldest.
        if self.events.add(event) && self.events_scroll > 0 {
            self.events_scroll = (self.events_scroll + 1).min(self.events.len() - 1);
        }
    }

    /// The hour of a port. Those of ports that are no longer looked at make room.
    pub(super) fn add_history(&mut self, history: History) {
        self.histories.insert(history.port, history);
        if self.histories.len() > MAX_HISTORIES {
            let wanted = self.wanted_histories(MAX_HISTORIES);
            self.histories.retain(|port, _| wanted.contains(port));
        }
    }

    /// Handles a key or the mouse. `false` if it ends the program.
    pub(super) fn handle(&mut self, command: Command) -> bool {
        if command == Command::Quit {
            return false;
        }
        if self.is_filtering {
            self.edit_filter(command);
            return true;
        }
        match command {
            Command::Back => return self.go_back(),
            Command::Help => self.shows_help = !self.shows_help,
            Command::Listeners => {
                self.shows_listeners = !self.shows_listeners;
                self.detail_scroll = 0;
            }
            Command::Pause => self.pause(),
            Command::Move(by) => self.go(by),
            Command::First => self.go(isize::MIN / 2),
            Command::Last => self.go(isize::MAX / 2),
            Command::Sort | Command::Reverse => {
                if command == Command::Sort {
                    self.sort = self.sort.next();
                } else {
                    self.reversed = !self.reversed;
                }
                let kept = self.selected_port();
                self.arrange(kept);
            }
            Command::Enter => {
                self.shows_listeners = false;
                self.detail = self.selected_port();
                self.detail_scroll = 0;
            }
            Command::Switch => {
                self.focus = match self.focus {
                    Focus::Ports => Focus::Events,
                    Focus::Events => Focus::Ports,
                }
            }
            Command::Filter => {
                self.is_filtering = self.shows_listeners || self.detail.is_none();
            }
            Command::Click(_, row) => self.click(row),
            Command::Type(letter) => {
                return letter_command(letter).is_none_or(|command| self.handle(command));
            }
            Command::Erase => self.detail = None,
            Command::Quit => {}
        }
        true
    }

    fn go_back(&mut self) -> bool {
        if self.shows_help {
            self.shows_help = false;
        } else if self.shows_listeners {
            self.shows_listeners = false;
        } else if self.detail.is_some() {
            self.detail = None;
        } else if !self.filter.is_empty() {
            self.change_filter(String::clear);
        } else {
            return false;
        }
        true
    }

    fn edit_filter(&mut self, command: Command) {
        match command {
            Command::Type(character) => self.change_filter(|filter| filter.push(character)),
            Command::Erase => self.change_filter(|filter| {
                filter.pop();
            }),
            Command::Back => {
                self.change_filter(String::clear);
                self.is_filtering = false;
            }
            Command::Enter => self.is_filtering = false,
            Command::Move(by) => self.go(by),
            _ => {}
        }
    }

    fn change_filter(&mut self, change: impl FnOnce(&mut String)) {
        let kept = self.selected_port();
        change(&mut self.filter);
        self.select(kept);
    }

    fn pause(&mut self) {
        self.is_paused = !self.is_paused;
        if let Some((look, at)) = self.waiting.take().filter(|_| !self.is_paused) {
            self.look(look, at);
        }
        for event in std::mem::take(&mut self.waiting_events) {
            self.add_event(&event);
        }
    }

    fn go(&mut self, by: isize) {
        if self.detail.is_some() || self.shows_listeners {
            // The view knows how much there is below.
            self.detail_scroll = self.detail_scroll.saturating_add_signed(by).min(10_000);
        } else if self.focus == Focus::Events {
            // Up leads to older events.
            let most = self.events.len().saturating_sub(1);
            self.events_scroll = self.events_scroll.saturating_add_signed(-by).min(most);
        } else {
            let last = self.shown().count().saturating_sub(1);
            self.selected = self.selected.saturating_add_signed(by).min(last);
        }
    }

    /// Selects the port at a row of the screen; the selected one is shown alone.
    fn click(&mut self, row: u16) {
        let Places { first_port: (top, first), ports, events } = self.places;
        if self.detail.is_some() || self.shows_help || self.shows_listeners {
            return;
        }
        if (events.0..events.1).contains(&row) {
            self.focus = Focus::Events;
        }
        if !(ports.0..ports.1).contains(&row) {
            return;
        }
        self.focus = Focus::Ports;
        let index = first + usize::from(row - top);
        if index == self.selected {
            self.handle(Command::Enter);
        } else if index < self.shown().count() {
            self.selected = index;
        }
    }

    /// The rows that the filter leaves.
    pub(super) fn shown(&self) -> impl Iterator<Item = &Row> {
        let wanted = self.filter.to_lowercase();
        self.rows.iter().filter(move |row| wanted.is_empty() || row.contains(&wanted))
    }

    /// The row that is selected.
    pub(super) fn selection(&self) -> Option<&Row> {
        self.shown().nth(self.selected)
    }

    /// The row of the port that is shown alone.
    pub(super) fn detail_row(&self) -> Option<&Row> {
        let number = self.detail?;
        self.rows.iter().find(|row| row.port.port == number)
    }

    /// How many ports are awake, how many have sockets, and how many need a look at once.
    pub(super) fn summary(&self) -> (usize, usize, usize) {
        let count = |is: fn(&Row) -> bool| self.rows.iter().filter(|row| is(row)).count();
        (
            count(|row| row.port.dormant == Some(false)),
            count(|row| !row.port.sockets.is_empty()),
            count(|row| row.port.alarm() == Alarm::Critical),
        )
    }

    /// The ports whose hour is wanted, each once: what is shown alone, what is selected, and the first
    /// ones.
    pub(super) fn wanted_histories(&self, most: usize) -> Vec<u16> {
        let shown = self.shown().map(|row| row.port.port);
        let all = self.detail.into_iter().chain(self.selected_port()).chain(shown);
        let mut wanted = Vec::new();
        for port in all {
            if wanted.len() == most {
                break;
            }
            if !wanted.contains(&port) {
                wanted.push(port);
            }
        }
        wanted
    }

    fn selected_port(&self) -> Option<u16> {
        self.selection().map(|row| row.port.port)
    }

    /// The port that stays selected when others come: none while the first row is selected, which is
    /// then the first one afterwards.
    fn kept_port(&self) -> Option<u16> {
        self.selected_port().filter(|_| self.selected > 0)
    }

    /// Sorts, and keeps the selection on its port.
    fn arrange(&mut self, kept: Option<u16>) {
        self.sort.arrange(&mut self.rows);
        if self.reversed {
            self.rows.reverse();
        }
        self.select(kept);
    }

    fn select(&mut self, kept: Option<u16>) {
        let at = self.shown().position(|row| Some(row.port.port) == kept);
        let last = self.shown().count().saturating_sub(1);
        self.selected = at.unwrap_or(self.selected).min(last);
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

    pub(in crate::commands::top) fn look(ports: Vec<Port>, counts: Counts) -> Look {
        Look { ports, counts, agent: None }
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
        model.look(look(quiet(&[7]), counts(&[(7, 100.0)])), Duration::from_secs(10));
        assert_eq!(model.rows[0].rate, None, "one look says nothing of a rate");
        model.look(look(quiet(&[7]), counts(&[(7, 150.0)])), Duration::from_secs(12));
        let rate = model.rows[0].rate.expect("two looks");
        assert_eq!((rate.ingress.packets, rate.ingress.bytes), (25.0, 1500.0));
        // Another agent has counted three since it began.
        model.look(look(quiet(&[7]), counts(&[(7, 3.0)])), Duration::from_secs(13));
        assert_eq!(model.rows[0].rate.expect("a rate").ingress.packets, 3.0);
    }

    #[test]
    fn the_selection_stays_on_its_port() {
        let mut model = Model::default();
        model.look(look(quiet(&[1, 2, 3]), Counts::new()), Duration::ZERO);
        assert!(model.handle(Command::Move(2)));
        model.look(look(quiet(&[3, 4, 5, 6]), Counts::new()), Duration::from_secs(1));
        assert_eq!(model.selected_port(), Some(3));
        model.handle(Command::Reverse);
        assert_eq!((numbers(&model), model.selected_port()), (vec![6, 5, 4, 3], Some(3)));
        model.handle(Command::Move(-100));
        assert_eq!(model.selected, 0);
        model.handle(Command::Last);
        assert_eq!(model.selected, 3);
        model.look(look(Vec::new(), Counts::new()), Duration::from_secs(2));
        assert!(model.selection().is_none() && model.handle(Command::Move(1)));
        assert!(!model.handle(Command::Quit));
    }

    #[test]
    fn every_order_begins_with_the_highest_value() {
        let mut model = Model::default();
        let ports = || vec![port(1, "quiet", &[]), port(2, "bound", &[])];
        model.look(look(ports(), counts(&[(1, 0.0), (2, 0.0)])), Duration::ZERO);
        model.look(look(ports(), counts(&[(1, 1.0), (2, 9.0)])), Duration::from_secs(1));
        let mut seen = Vec::new();
        while seen.last() != Some(&Sort::Attempts) {
            let expected = if model.sort == Sort::Port { [1, 2] } else { [2, 1] };
            assert_eq!(numbers(&model), expected, "{:?}", model.sort);
            seen.push(model.sort);
            model.handle(Command::Sort);
        }
        assert_eq!((seen[0], model.sort), (Sort::Alarm, Sort::Alarm), "all orders in turn");
    }

    #[test]
    fn what_is_most_alarming_comes_first_and_stays_selected() {
        let mut model = Model::default();
        model.look(look(quiet(&[1, 2]), Counts::new()), Duration::ZERO);
        assert_eq!(model.selected_port(), Some(1));
        let ports = vec![port(1, "quiet", &[]), port(2, "probed", &[]), port(3, "bound", &[])];
        model.look(look(ports, Counts::new()), Duration::from_secs(1));
        assert_eq!((numbers(&model), model.selected_port()), (vec![3, 2, 1], Some(3)));
    }

    #[test]
    fn a_filter_leaves_ports_that_contain_it() {
        let mut model = Model::default();
        let bound = port(2948, "bound", &[json!({ "holders": [{ "pid": 7, "name": "Kannel" }] })]);
        let ports = vec![bound, port(2949, "probed", &[]), port(80, "quiet", &[])];
        model.look(look(ports, Counts::new()), Duration::ZERO);
        let filtered =
            |model: &Model| -> Vec<u16> { model.shown().map(|row| row.port.port).collect() };
        for (filter, expected) in
            [("294", vec![2948, 2949]), ("kann", vec![2948]), ("prob", vec![2949]), ("x", vec![])]
        {
            model.handle(Command::Filter);
            for character in filter.chars() {
                assert!(model.handle(Command::Type(character)));
            }
            assert_eq!(filtered(&model), expected, "{filter}");
            model.handle(Command::Enter);
            assert!(model.detail.is_none() && model.handle(Command::Back), "it ends the filter");
            assert_eq!(filtered(&model).len(), 3);
        }
        assert!(!model.handle(Command::Back), "nothing is left to leave but the program");
    }

    #[test]
    fn the_hour_of_a_port_is_wanted_once() {
        let mut model = Model::default();
        model.look(look(quiet(&[1, 2, 3]), Counts::new()), Duration::ZERO);
        model.handle(Command::Move(1));
        model.handle(Command::Enter);
        assert_eq!(model.wanted_histories(9), [2, 1, 3]);
        assert_eq!(model.wanted_histories(2), [2, 1]);
    }

    #[test]
    fn a_stopped_picture_goes_on_with_the_latest() {
        let mut model = Model::default();
        model.look(look(quiet(&[1]), Counts::new()), Duration::ZERO);
        model.handle(Command::Pause);
        model.look(look(quiet(&[1, 2]), Counts::new()), Duration::from_secs(1));
        model.look(look(quiet(&[1, 2, 3]), Counts::new()), Duration::from_secs(2));
        assert_eq!(numbers(&model), [1]);
        let event = json!({ "event.name": "ghostport.bind" }).to_string();
        model.add_event(&event);
        assert_eq!(model.events.len(), 0);
        model.handle(Command::Pause);
        assert_eq!((numbers(&model), model.events.len()), (vec![1, 2, 3], 1));
    }

    #[test]
    fn the_mouse_selects_a_port_and_then_opens_it() {
        let mut model = Model::default();
        model.look(look(quiet(&[1, 2, 3]), Counts::new()), Duration::ZERO);
        model.places = Places { first_port: (3, 0), ports: (3, 6), events: (8, 12) };
        model.handle(Command::Click(5, 4));
        assert_eq!((model.selected_port(), model.detail), (Some(2), None));
        model.handle(Command::Click(5, 4));
        assert_eq!(model.detail, Some(2));
        model.handle(Command::Back);
        model.handle(Command::Click(5, 9));
        assert_eq!((model.focus, model.selected_port()), (Focus::Events, Some(2)));
    }

    #[test]
    fn events_scroll_and_stay_where_they_are_read() {
        let mut model = Model::default();
        let event =
            |pid: u32| json!({ "event.name": "ghostport.bind", "process.pid": pid }).to_string();
        (0..20).for_each(|pid| model.add_event(&event(pid)));
        model.handle(Command::Switch);
        model.handle(Command::Move(-5));
        assert_eq!(model.events_scroll, 5);
        model.add_event(&event(20));
        assert_eq!(model.events_scroll, 6);
        // The oldest lines make room, and what is read stays where it is.
        (21..600).for_each(|pid| model.add_event(&event(pid)));
        model.handle(Command::Last);
        model.handle(Command::Move(-7));
        let read = |model: &Model| {
            model.events.about(None).rev().nth(model.events_scroll).and_then(|line| line.event.pid)
        };
        assert_eq!(read(&model), Some(592));
        (600..700).for_each(|pid| model.add_event(&event(pid)));
        assert_eq!((read(&model), model.events_scroll), (Some(592), 107));
        (700..1400).for_each(|pid| model.add_event(&event(pid)));
        assert_eq!(model.events_scroll, MAX_LINES - 1, "it is gone");
        model.handle(Command::Last);
        assert_eq!(model.events_scroll, 0);
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
}
