//! The columns of the table of ports, by the width of the screen.

use jiff::Timestamp;

use super::{
    counts::Count,
    holders,
    model::{Model, short},
    row::Row,
    sparkline::{Direction, sparkline},
};
use crate::terminal::event_table::ago;

/// The heading of the column whose style differs.
pub(super) const TREND: &str = "LAST HOUR";

/// The least width of a screen with room for more than the name of a state.
const WORDS: u16 = 100;

/// What a cell is made from.
pub(super) struct Shown<'a> {
    pub(super) row: &'a Row,
    pub(super) model: &'a Model,
    pub(super) now: Timestamp,
    /// Width of the screen.
    pub(super) screen: u16,
}

/// A column of the ports: what is above it, how wide it is, and from which width of the screen on it
/// is shown.
pub(super) struct Column {
    pub(super) heading: &'static str,
    pub(super) width: fn(u16) -> u16,
    pub(super) from: u16,
    pub(super) cell: fn(&Shown<'_>) -> String,
}

/// The last one gets what is left.
pub(super) const COLUMNS: [Column; 12] = [
    Column { heading: "PORT", width: |_| 7, from: 0, cell: |shown| number(shown.row) },
    Column {
        heading: "SERVICE",
        width: |screen| if screen < 100 { 9 } else { 15 },
        from: 60,
        cell: |shown| shown.row.port.service.clone().unwrap_or_default(),
    },
    Column {
        heading: "STATE",
        width: |screen| if screen < WORDS { 9 } else { 16 },
        from: 0,
        cell: state,
    },
    Column { heading: "DORMANT", width: |_| 7, from: 50, cell: dormant },
    Column {
        heading: "IN/s",
        width: |_| 5,
        from: 0,
        cell: |shown| rate(shown.row, |r| r.ingress.packets),
    },
    Column {
        heading: "OUT/s",
        width: |_| 5,
        from: 0,
        cell: |shown| rate(shown.row, |r| r.egress.packets),
    },
    Column {
        heading: "IN B/s",
        width: |_| 6,
        from: 110,
        cell: |shown| rate(shown.row, |r| r.ingress.bytes),
    },
    Column {
        heading: "OUT B/s",
        width: |_| 7,
        from: 110,
        cell: |shown| rate(shown.row, |r| r.egress.bytes),
    },
    Column {
        heading: "SYN",
        width: |_| 5,
        from: 120,
        cell: |shown| short(shown.row.count.attempts),
    },
    Column { heading: TREND, width: trend_width, from: 70, cell: trend },
    Column { heading: "TRAFFIC", width: |_| 18, from: 150, cell: |shown| traffic(shown.row) },
    Column {
        heading: "HOLDERS",
        width: |_| 0,
        from: 0,
        cell: |shown| holders::names(&shown.row.port),
    },
];

fn number(row: &Row) -> String {
    format!("{} {}", row.port.alarm().sign(), row.port.port)
}

fn state(shown: &Shown<'_>) -> String {
    let port = &shown.row.port;
    match shown.screen {
        0..WORDS => port.state.unwrap_or_default().name().to_owned(),
        _ => port.state_in_words(),
    }
}

fn dormant(shown: &Shown<'_>) -> String {
    let port = &shown.row.port;
    match (port.dormant, port.dormant_since) {
        (Some(false), _) => "awake".to_owned(),
        (_, Some(since)) => ago(since, shown.now),
        (_, None) => "yes".to_owned(),
    }
}

fn rate(row: &Row, of: fn(&Count) -> f64) -> String {
    row.rate.as_ref().map_or_else(|| "-".to_owned(), |rate| short(of(rate)))
}

/// The column of the last hour grows with the screen.
const fn trend_width(screen: u16) -> u16 {
    match screen {
        0..100 => 10,
        100..130 => 15,
        130..170 => 20,
        _ => 30,
    }
}

fn trend(shown: &Shown<'_>) -> String {
    let history = shown.model.histories.get(&shown.row.port.port);
    let width = usize::from(trend_width(shown.screen));
    history.map(|history| sparkline(history, width, Direction::Both)).unwrap_or_default()
}

fn traffic(row: &Row) -> String {
    let verdicts = row.port.verdicts.iter();
    verdicts
        .map(|found| format!("{} ×{}", found.verdict, found.count))
        .collect::<Vec<_>>()
        .join(" ")
}
