//! The model on a screen of any size.

use jiff::Timestamp;
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Modifier, Style},
    text::{Line, Span},
    widgets::{Block, Cell, Clear, Paragraph, Row as TableRow, Table, TableState},
};

use super::{
    columns::{COLUMNS, Column, Shown, TREND},
    detail, holders, listeners,
    model::{Focus, Model, Places},
    row::Row,
    theme::{DIM, HEADING, Theme},
};
use crate::terminal::{escape::escaped, event_table::EventTable, plural::counted, wrap::wrap};

/// Least lines that the events get, their heading among them.
const LEAST_EVENTS: u16 = 7;

const KEYS: &str = "q quit  ↑↓ select  Enter detail  / filter  p pause  s sort  Tab events  ? help";

const LISTENERS_KEYS: &str = "l Esc back  ↑↓ PgUp PgDn scroll  / filter  p pause  ? help  q quit";

const DETAIL_KEYS: &str = "Esc back  ↑↓ PgUp PgDn scroll  p pause  ? help  q quit";

const HELP: &str = "\
 ↑ ↓ j k PgUp PgDn Home End  select a port, scroll
 Enter, a click on it        everything about the selected port
 Tab                         scroll the events, and back to the ports
 /                           show ports with this text: number, service,
                             state or program; Enter keeps it, Esc ends it
 s  r                        sort by the next column, reverse
 l                           what listens on any port of the host
 p  space                    stop the picture, go on
 Esc  q                      back, quit

 ▲ held, answered or captured by what nothing expects
 ◆ probed, refused, or used from here   ■ an expected holder   · quiet
 LAST HOUR has packets in and out; · is none, blank is not known.";

/// Draws everything; `now` is the time of day. Notes where things are, for the mouse.
pub(super) fn draw(frame: &mut Frame<'_>, model: &mut Model, now: Timestamp, in_colour: bool) {
    let theme = Theme { in_colour };
    let area = frame.area();
    let [head, body, keys] =
        Layout::vertical([Constraint::Length(2), Constraint::Fill(1), Constraint::Length(1)])
            .areas(area);
    frame.render_widget(head_lines(model, now, theme), head);
    let what_keys_do = if model.shows_listeners {
        draw_listeners(frame, body, model, now, theme);
        LISTENERS_KEYS
    } else if model.detail_row().is_some() {
        draw_detail(frame, body, model, now, theme);
        DETAIL_KEYS
    } else {
        draw_all(frame, body, model, now, theme);
        KEYS
    };
    frame.render_widget(key_line(model, what_keys_do), keys);
    if model.shows_help {
        draw_help(frame, area);
    }
}

fn key_line(model: &Model, keys: &'static str) -> Line<'static> {
    if model.is_filtering {
        let text = format!("/{}▏  Enter keeps it, Esc ends it", escaped(&model.filter));
        return Line::styled(text, HEADING);
    }
    Line::styled(keys, DIM)
}

/// The host and the agent, and below them what there is to see.
fn head_lines(model: &Model, now: Timestamp, theme: Theme) -> Paragraph<'static> {
    let mut first = vec![Span::styled("ghostport top", HEADING)];
    if let Some(agent) = &model.agent {
        let hooks = counted(agent.hooks.attached, "hook", "hooks");
        let text = format!("  {}  {}  {hooks}", agent.host, agent.version);
        first.push(Span::raw(escaped(&text).into_owned()));
        let mut bad = |text: String| {
            first.push(Span::raw("  "));
            first.push(Span::styled(text, theme.trouble()));
        };
        if agent.hooks.missing > 0 {
            bad(counted(agent.hooks.missing, "hook", "hooks") + " missing");
        }
        match agent.events_lost.total() {
            0 => first.push(Span::raw("  no event lost")),
            lost => bad(counted(lost, "event", "events") + " lost"),
        }
    }
    let second = match &model.trouble {
        Some(trouble) => Line::styled(escaped(trouble).into_owned(), theme.trouble()),
        None => summary_line(model, now, theme),
    };
    Paragraph::new(vec![Line::from(first), second])
}

fn summary_line(model: &Model, now: Timestamp, theme: Theme) -> Line<'static> {
    let (awake, held, critical) = model.summary();
    let order = if model.reversed { ", reversed" } else { "" };
    let mut spans = Vec::new();
    if model.is_paused {
        spans.push(Span::styled("PAUSED  ", HEADING));
    }
    if !model.filter.is_empty() {
        let count = model.shown().count();
        spans.push(Span::styled(format!("{count} with {:?}, ", escaped(&model.filter)), HEADING));
    }
    if critical > 0 {
        spans.push(Span::styled(format!("{critical} to look at, "), theme.trouble()));
    }
    spans.push(Span::raw(format!(
        "{}, {awake} awake, {held} with sockets; by {}{order}; {now:.0}",
        counted(model.rows.len(), "port", "ports"),
        model.sort.name(),
    )));
    if let Some(text) = listeners::summary(&model.listeners) {
        // What a narrow screen has no room for comes last.
        spans.insert(spans.len() - 1, Span::styled(text + ", ", theme.trouble()));
    }
    Line::from(spans)
}

/// The ports, what the selected one is about, and the events.
fn draw_all(frame: &mut Frame<'_>, area: Rect, model: &mut Model, now: Timestamp, theme: Theme) {
    let wanted = u16::try_from(model.shown().count()).unwrap_or(u16::MAX).saturating_add(1);
    let about = if area.height > 16 { 2 } else { 1 };
    // The ports leave the events their share.
    let ports = wanted.min(area.height.saturating_sub(about + LEAST_EVENTS)).max(2);
    let [table, detail, latest] = Layout::vertical([
        Constraint::Length(ports),
        Constraint::Length(about),
        Constraint::Fill(1),
    ])
    .areas(area);
    let first = draw_ports(frame, table, model, now, theme);
    frame.render_widget(about_selection(model, detail), detail);
    draw_events(frame, latest, model, now, theme);
    model.places = Places {
        first_port: (table.y + 1, first),
        ports: (table.y + 1, table.bottom()),
        events: (latest.y, latest.bottom()),
    };
}

/// Draws the table, and returns the index of the first row that is seen.
fn draw_ports(
    frame: &mut Frame<'_>,
    area: Rect,
    model: &Model,
    now: Timestamp,
    theme: Theme,
) -> usize {
    // Of tens of thousands of ports only the visible ones become rows.
    let visible = usize::from(area.height.saturating_sub(1)).max(1);
    let first = (model.selected + 1).saturating_sub(visible);
    let columns: Vec<&Column> = COLUMNS.iter().filter(|column| column.from <= area.width).collect();
    let rows = model.shown().skip(first).take(visible).map(|row| {
        let cell = |column: &&Column| {
            // The screen leaves control characters out, and obeys marks of direction.
            let text = (column.cell)(&Shown { row, model, now, screen: area.width });
            let text = escaped(&text).into_owned();
            if column.heading == TREND {
                Cell::from(text).style(theme.trend())
            } else {
                Cell::from(text)
            }
        };
        TableRow::new(columns.iter().map(cell)).style(row_style(row, theme))
    });
    let width = |column: &&Column| match (column.width)(area.width) {
        0 => Constraint::Fill(1),
        width => Constraint::Length(width),
    };
    let headings = columns.iter().map(|column| Cell::from(column.heading));
    let highlight = match model.focus {
        Focus::Ports => Modifier::REVERSED,
        Focus::Events => Modifier::UNDERLINED,
    };
    let table = Table::new(rows, columns.iter().map(width))
        .header(TableRow::new(headings).style(HEADING))
        .row_highlight_style(highlight);
    let mut state = TableState::new().with_selected(model.selected.checked_sub(first));
    frame.render_stateful_widget(table, area, &mut state);
    first
}

fn row_style(row: &Row, theme: Theme) -> Style {
    let style = theme.alarm(row.port.alarm());
    if row.port.dormant == Some(false) { style.add_modifier(Modifier::BOLD) } else { style }
}

fn about_selection(model: &Model, area: Rect) -> Paragraph<'static> {
    let Some(row) = model.selection() else { return Paragraph::default() };
    let details = format!("{}: {}", row.port.port, holders::details(&row.port));
    let lines = wrap(&escaped(&details), usize::from(area.width));
    let lines = lines.into_iter().map(|line| Line::styled(line, Modifier::ITALIC));
    Paragraph::new(lines.collect::<Vec<_>>())
}

/// The newest events that are not scrolled away, of which the last is at the bottom.
fn draw_events(frame: &mut Frame<'_>, area: Rect, model: &Model, now: Timestamp, theme: Theme) {
    let room = usize::from(area.height.saturating_sub(1));
    let table = EventTable::new(Some(usize::from(area.width).max(80)), false);
    let scrolled = match model.events_scroll {
        0 => String::new(),
        below => format!("  ({below} newer below)"),
    };
    let focus = if model.focus == Focus::Events { Modifier::REVERSED } else { Modifier::empty() };
    let heading = Line::styled(table.heading() + &scrolled, HEADING.add_modifier(focus));
    let newest = model.events.about(None).rev().skip(model.events_scroll).take(room);
    let mut lines: Vec<Line<'_>> = newest
        .map(|line| {
            let text = table.row_of(&line.event, line.count, now);
            Line::styled(text, theme.severity(line.event.severity.as_deref()))
        })
        .collect();
    lines.push(heading);
    lines.reverse();
    frame.render_widget(Paragraph::new(lines), area);
}

fn draw_detail(frame: &mut Frame<'_>, area: Rect, model: &mut Model, now: Timestamp, theme: Theme) {
    let Some(row) = model.detail_row() else { return };
    let lines = detail::lines(model, row, now, usize::from(area.width).max(20), theme);
    draw_scrolled(frame, area, model, lines);
}

fn draw_listeners(
    frame: &mut Frame<'_>,
    area: Rect,
    model: &mut Model,
    now: Timestamp,
    theme: Theme,
) {
    let width = usize::from(area.width).max(40);
    let lines = listeners::lines(&model.listeners, &model.filter, now, width, theme);
    draw_scrolled(frame, area, model, lines);
}

/// Draws as many of the lines as there is room for.
fn draw_scrolled(frame: &mut Frame<'_>, area: Rect, model: &mut Model, lines: Vec<Line<'static>>) {
    model.detail_scroll =
        model.detail_scroll.min(lines.len().saturating_sub(usize::from(area.height)));
    let scroll = u16::try_from(model.detail_scroll).unwrap_or(u16::MAX);
    frame.render_widget(Paragraph::new(lines).scroll((scroll, 0)), area);
}

fn draw_help(frame: &mut Frame<'_>, area: Rect) {
    let lines = u16::try_from(HELP.lines().count()).unwrap_or(u16::MAX);
    let columns = HELP.lines().map(|line| line.chars().count()).max().unwrap_or(0);
    let columns = u16::try_from(columns).unwrap_or(u16::MAX);
    let area = area.centered(Constraint::Length(columns + 3), Constraint::Length(lines + 2));
    frame.render_widget(Clear, area);
    frame.render_widget(
        Paragraph::new(HELP).block(Block::bordered().title(" Keys and signs ")),
        area,
    );
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ratatui::{Terminal, backend::TestBackend, buffer::Buffer, style::Color};
    use serde_json::json;

    use super::*;
    use crate::{
        api::agent::{AgentFacts, HookNumbers, LostEvents},
        commands::top::{
            command::Command,
            model::{
                Look,
                tests::{counts, look, port},
            },
            sparkline::tests::history,
        },
    };

    fn model() -> Model {
        let mut model = Model::default();
        let holder = json!({
            "name": "bearerbox\u{1b}[31m", "pid": 4242, "systemd_unit": "kannel.service"
        });
        let socket = json!({
            "transport": "tcp", "tcp_state": "listen", "local_address": "0.0.0.0",
            "local_port": 2948, "holders": [holder], "expected": false
        });
        let ports = || {
            vec![
                port(2923, "quiet", &[]),
                port(2948, "served", std::slice::from_ref(&socket)),
                port(2949, "probed", &[json!({"transport": "udp", "holders": []})]),
            ]
        };
        model.look(look(ports(), counts(&[(2948, 0.0)])), Duration::ZERO);
        let agent = AgentFacts {
            host: "gateway-7".to_owned(),
            version: "0.1.0".to_owned(),
            hooks: HookNumbers { attached: 12, missing: 1 },
            events_lost: LostEvents { ring: 0, queue: 0, sink: 31 },
            ..AgentFacts::default()
        };
        let counts = counts(&[(2948, 2468.0)]);
        let second = Look { agent: Some(agent), ..look(ports(), counts) };
        model.look(second, Duration::from_secs(2));
        model.add_history(history(2948));
        for pid in 0..9 {
            let event = json!({
                "time": format!("2026-11-21T08:30:0{pid}.5Z"), "event.name": "ghostport.bind",
                "network.local.port": 2948, "network.transport": "tcp",
                "process.executable.name": "bearerbox", "process.pid": 4240 + pid,
                "ghostport.severity": if pid == 3 { "critical" } else { "info" },
                "ghostport.expected": false,
            });
            model.add_event(&event.to_string());
        }
        for peer in 0..250 {
            let event = json!({
                "time": "2026-11-21T08:30:08.9Z", "event.name": "ghostport.identified",
                "ghostport.port": 2948, "network.transport": "tcp", "ghostport.verdict": "http",
                "network.peer.address": format!("192.0.2.{peer}"),
            });
            model.add_event(&event.to_string());
        }
        model
    }

    fn drawn(model: &mut Model, width: u16, height: u16, in_colour: bool) -> Buffer {
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
        insta::assert_snapshot!(text(&drawn(&mut model(), 80, 24, true)));
    }

    #[test]
    fn it_uses_a_wide_terminal() {
        insta::assert_snapshot!("wide", text(&drawn(&mut model(), 160, 24, true)));
    }

    #[test]
    fn a_port_alone_has_its_hour_sockets_and_events() {
        let mut model = model();
        model.handle(Command::Enter);
        insta::assert_snapshot!("detail", text(&drawn(&mut model, 100, 30, true)));
        model.handle(Command::Last);
        let text = text(&drawn(&mut model, 100, 12, true));
        assert!(text.contains("ghostport explain 2948"), "it is scrolled to its end: {text}");
    }

    #[test]
    fn listeners_have_a_screen_of_their_own() {
        let mut model = model();
        model.listeners = listeners::tests::listeners();
        let all = text(&drawn(&mut model, 160, 24, true));
        assert!(all.contains("1 unexpected listener (l)"), "{all}");
        model.handle(Command::Type('l'));
        insta::assert_snapshot!("listeners", text(&drawn(&mut model, 80, 10, true)));
        insta::assert_snapshot!("listeners_wide", text(&drawn(&mut model, 160, 10, true)));
        model.handle(Command::Back);
        let again = text(&drawn(&mut model, 160, 24, true));
        assert!(!again.contains("UNIT, CONTAINER"), "{again}");
    }

    #[test]
    fn help_and_filter_are_drawn_over_it() {
        let mut model = model();
        model.handle(Command::Type('?'));
        insta::assert_snapshot!("help", text(&drawn(&mut model, 80, 24, true)));
        model.handle(Command::Back);
        model.handle(Command::Filter);
        for letter in "prob".chars() {
            assert!(model.handle(Command::Type(letter)));
        }
        let filtered = text(&drawn(&mut model, 80, 24, true));
        assert!(filtered.contains("/prob") && filtered.contains("2949"), "{filtered}");
        assert!(!filtered.contains("served "), "{filtered}");
    }

    #[test]
    fn any_size_is_drawn_without_control_characters() {
        for (width, height) in [(1, 1), (3, 2), (20, 5), (80, 10), (300, 100)] {
            let text = text(&drawn(&mut model(), width, height, true));
            assert!(!text.contains('\u{1b}'), "a control character of a program's name");
        }
    }

    #[test]
    fn names_of_others_are_escaped_everywhere() {
        const HOSTILE: &str = "a\u{1b}[2J\u{202e}b\u{9b}\u{7}\r";
        let holder = json!({"name": HOSTILE, "pid": 1, "systemd_unit": HOSTILE});
        let socket = json!({"transport": "udp", "local_port": 2948, "holders": [holder]});
        let mut model = Model::default();
        model.look(look(vec![port(2948, "bound", &[socket])], counts(&[])), Duration::ZERO);
        let event = json!({
            "time": "2026-11-21T08:30:00Z", "event.name": "ghostport.bind",
            "network.local.port": 2948, "process.executable.name": HOSTILE, "process.pid": 1,
        });
        model.add_event(&event.to_string());
        let shown = text(&drawn(&mut model, 200, 24, true));
        model.trouble = Some(HOSTILE.to_owned());
        let trouble = text(&drawn(&mut model, 200, 24, true));
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
        model.look(look(ports, counts(&[])), Duration::ZERO);
        for command in [Command::Last, Command::Move(-250), Command::First] {
            model.handle(command);
            let selected = format!("{} ", model.selected + 1);
            let text = text(&drawn(&mut model, 80, 24, false));
            assert!(
                text.lines().any(|line| line.contains(&format!("· {selected}"))),
                "{selected}: {text}"
            );
        }
    }

    #[test]
    fn without_colour_no_cell_has_one() {
        let has_colour = |in_colour: bool| {
            let mut model = model();
            model.trouble = in_colour.then(|| "trouble".to_owned());
            let buffer = drawn(&mut model, 80, 24, in_colour);
            buffer.content.iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset)
        };
        assert!(has_colour(true));
        assert!(!has_colour(false));
    }
}
