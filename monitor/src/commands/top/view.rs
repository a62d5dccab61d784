//! The model on a screen of any size.

use jiff::Timestamp;
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Cell, Paragraph, Row as TableRow, Table, TableState},
};

use super::{
    holders,
    model::{Model, Row, ago, short},
};
use crate::terminal::{escape::escaped, event_table};
use monitor_ledger::PortState;

/// Least lines that the events get, their heading among them.
const LEAST_EVENTS: u16 = 7;

const HEADINGS: [&str; 10] =
    ["PORT", "SERVICE", "STATE", "DORMANT", "IN/s", "OUT/s", "IN B/s", "OUT B/s", "SYN", "HOLDERS"];

/// Widths of the columns but the last, which has what is left: 15 of 80.
const WIDTHS: [u16; 9] = [5, 9, 9, 7, 5, 5, 6, 7, 4];

const KEYS: &str = "q quit  ↑↓ PgUp PgDn select  s sort  r reverse";

/// Draws everything; `now` is the time of day.
pub(super) fn draw(frame: &mut Frame<'_>, model: &Model, now: Timestamp, in_colour: bool) {
    let height = frame.area().height;
    let wanted = u16::try_from(model.rows.len()).unwrap_or(u16::MAX).saturating_add(1);
    // Head, detail and keys take a line each; the ports leave the events their share.
    let ports = wanted.min(height.saturating_sub(3 + LEAST_EVENTS)).max(2);
    let [head, table, detail, latest, keys] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(ports),
        Constraint::Length(1),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(head_line(model, now, in_colour), head);
    draw_ports(frame, table, model, now, in_colour);
    frame.render_widget(detail_line(model), detail);
    draw_events(frame, latest, model);
    frame.render_widget(Line::styled(KEYS, Modifier::DIM), keys);
}

fn head_line(model: &Model, now: Timestamp, in_colour: bool) -> Line<'static> {
    if let Some(trouble) = &model.trouble {
        return Line::styled(escaped(trouble).into_owned(), warning(in_colour));
    }
    let (awake, held) = model.summary();
    let order = if model.reversed { ", reversed" } else { "" };
    let text = format!(
        "  {} ports, {awake} awake, {held} with sockets; by {}{order}; {now:.0}",
        model.rows.len(),
        model.sort.name(),
    );
    Line::from(vec![Span::styled("ghostport top", Modifier::BOLD), Span::raw(text)])
}

fn draw_ports(frame: &mut Frame<'_>, area: Rect, model: &Model, now: Timestamp, in_colour: bool) {
    // Of tens of thousands of ports only the visible ones become rows.
    let visible = usize::from(area.height.saturating_sub(1)).max(1);
    let first = (model.selected + 1).saturating_sub(visible);
    let rows = model.rows.iter().skip(first).take(visible);
    let rows = rows.map(|row| table_row(row, now, in_colour));
    let widths = WIDTHS.map(Constraint::Length).into_iter().chain([Constraint::Fill(1)]);
    let table = Table::new(rows, widths)
        .header(TableRow::new(HEADINGS.map(Cell::from)).style(Modifier::BOLD))
        .row_highlight_style(Modifier::REVERSED);
    let mut state = TableState::new().with_selected(model.selected.checked_sub(first));
    frame.render_stateful_widget(table, area, &mut state);
}

fn table_row(row: &Row, now: Timestamp, in_colour: bool) -> TableRow<'static> {
    let port = &row.port;
    let state = port.state.unwrap_or_default();
    let is_dormant = port.dormant != Some(false);
    let dormant = match (is_dormant, port.dormant_since) {
        (true, Some(since)) => ago(since, now),
        (true, None) => "yes".to_owned(),
        (false, _) => "awake".to_owned(),
    };
    let rate = |of: fn(&super::counts::Count) -> f64| {
        row.rate.as_ref().map_or("-".to_owned(), |rate| short(of(rate)))
    };
    let cells = [
        port.port.to_string(),
        port.service.clone().unwrap_or_default(),
        state.name().to_owned(),
        dormant,
        rate(|rate| rate.ingress.packets),
        rate(|rate| rate.egress.packets),
        rate(|rate| rate.ingress.bytes),
        rate(|rate| rate.egress.bytes),
        short(row.count.attempts),
        holders::names(port),
    ];
    // The screen leaves control characters out, and obeys marks of direction.
    let cells = cells.map(|cell| Cell::from(escaped(&cell).into_owned()));
    TableRow::new(cells).style(style(state, is_dormant, in_colour))
}

fn style(state: PortState, dormant: bool, in_colour: bool) -> Style {
    let style = if dormant { Style::new() } else { Style::new().add_modifier(Modifier::BOLD) };
    match state {
        _ if !in_colour => style,
        PortState::Quiet | PortState::Transit => style,
        PortState::Probed | PortState::Attempted | PortState::Outbound => style.fg(Color::Yellow),
        PortState::Bound | PortState::Answered | PortState::Served => style.fg(Color::Red),
    }
}

fn warning(in_colour: bool) -> Style {
    let style = Style::new().add_modifier(Modifier::BOLD);
    if in_colour { style.fg(Color::Red) } else { style }
}

fn detail_line(model: &Model) -> Line<'static> {
    let Some(row) = model.selection() else { return Line::default() };
    let details = format!("{}: {}", row.port.port, holders::details(&row.port));
    Line::styled(escaped(&details).into_owned(), Modifier::ITALIC)
}

/// The newest events, of which the last is at the bottom.
fn draw_events(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let room = usize::from(area.height.saturating_sub(1));
    let skipped = model.events.len().saturating_sub(room);
    let heading = Line::styled(event_table::heading(), Modifier::BOLD);
    let lines = model.events.iter().skip(skipped).map(|line| Line::raw(line.as_str()));
    frame.render_widget(
        Paragraph::new([heading].into_iter().chain(lines).collect::<Vec<_>>()),
        area,
    );
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ratatui::{Terminal, backend::TestBackend, buffer::Buffer};
    use serde_json::json;

    use super::*;
    use crate::commands::top::model::{
        Command,
        tests::{counts, port},
    };

    fn model() -> Model {
        let mut model = Model::default();
        let holder = json!({
            "name": "bearerbox\u{1b}[31m", "pid": 4242, "systemd_unit": "kannel.service"
        });
        let socket = json!({
            "transport": "tcp", "tcp_state": "listen", "local_address": "0.0.0.0",
            "local_port": 2948, "holders": [holder]
        });
        let ports = || {
            vec![
                port(2923, "quiet", &[]),
                port(2948, "served", std::slice::from_ref(&socket)),
                port(2949, "probed", &[json!({"transport": "udp", "holders": []})]),
            ]
        };
        model.look(ports(), counts(&[(2948, 0.0)]), Duration::ZERO);
        model.look(ports(), counts(&[(2948, 2468.0)]), Duration::from_secs(2));
        for pid in 0..9 {
            let event = json!({
                "time": format!("2026-11-21T08:30:0{pid}.5Z"), "event.name": "ghostport.bind",
                "network.local.port": 2948, "network.transport": "tcp",
                "process.executable.name": "bearerbox", "process.pid": 4240 + pid,
            });
            model.add_event(&event.to_string());
        }
        model.handle(Command::Move(1));
        model
    }

    fn drawn(model: &Model, width: u16, height: u16, in_colour: bool) -> Buffer {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
        let now = "2026-11-21T08:30:09Z".parse().expect("a time");
        terminal.draw(|frame| draw(frame, model, now, in_colour)).expect("drawn");
        terminal.backend().buffer().clone()
    }

    fn text(buffer: &Buffer) -> String {
        let width = usize::from(buffer.area.width);
        let symbols: Vec<&str> = buffer.content.iter().map(|cell| cell.symbol()).collect();
        let line = |cells: &[&str]| cells.concat().trim_end().to_owned() + "\n";
        symbols.chunks(width).map(line).collect()
    }

    #[test]
    fn it_fits_a_usual_terminal() {
        insta::assert_snapshot!(text(&drawn(&model(), 80, 24, true)));
    }

    #[test]
    fn any_size_is_drawn_without_control_characters() {
        for (width, height) in [(1, 1), (3, 2), (20, 5), (80, 10), (300, 100)] {
            let text = text(&drawn(&model(), width, height, true));
            assert!(!text.contains('\u{1b}'), "a control character of a program's name");
        }
    }

    #[test]
    fn names_of_others_are_escaped_everywhere() {
        const HOSTILE: &str = "a\u{1b}[2J\u{202e}b\u{9b}\u{7}\r";
        let holder = json!({"name": HOSTILE, "pid": 1, "systemd_unit": HOSTILE});
        let socket = json!({"transport": "udp", "local_port": 2948, "holders": [holder]});
        let mut model = Model::default();
        model.look(vec![port(2948, "bound", &[socket])], counts(&[]), Duration::ZERO);
        let event = json!({
            "time": "2026-11-21T08:30:00Z", "event.name": "ghostport.bind",
            "network.local.port": 2948, "process.executable.name": HOSTILE, "process.pid": 1,
        });
        model.add_event(&event.to_string());
        let shown = text(&drawn(&model, 200, 24, true));
        model.trouble = Some(HOSTILE.to_owned());
        let trouble = text(&drawn(&model, 200, 24, true));
        for text in [&shown, &trouble] {
            let is_raw = |character: char| {
                character.is_control() && character != '\n' || character == '\u{202e}'
            };
            assert!(!text.contains(is_raw), "{text:?}");
        }
        // In the table, its detail and the event; in the message as well.
        assert_eq!(shown.matches("\\u{1b}[2J").count(), 4, "{shown}");
        assert_eq!(trouble.matches("\\u{1b}[2J").count(), 5, "{trouble}");
    }

    #[test]
    fn the_selection_is_always_visible() {
        let mut model = Model::default();
        let ports = (1..=500).map(|number| port(number, "quiet", &[])).collect();
        model.look(ports, counts(&[]), Duration::ZERO);
        for command in [Command::Last, Command::Move(-250), Command::First] {
            model.handle(command);
            let selected = format!("{} ", model.selected + 1);
            let text = text(&drawn(&model, 80, 24, false));
            assert!(text.lines().any(|line| line.starts_with(&selected)), "{selected}: {text}");
        }
    }

    #[test]
    fn without_colour_no_cell_has_one() {
        let has_colour = |in_colour: bool| {
            let mut model = model();
            model.trouble = in_colour.then(|| "trouble".to_owned());
            let buffer = drawn(&model, 80, 24, in_colour);
            buffer.content.iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset)
        };
        assert!(has_colour(true));
        assert!(!has_colour(false));
    }
}
