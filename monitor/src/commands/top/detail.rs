//! Everything about one port: sockets, peers, verdicts, its hour and its events.

use jiff::Timestamp;
use ratatui::text::{Line, Span};

use super::{
    holders,
    model::{Model, short},
    row::Row,
    sparkline::{Direction, sparkline},
    theme::{DIM, HEADING, Theme},
};
use crate::{
    api::{history::History, port::Port, socket::Socket, talker::Talker},
    terminal::{
        escape::escaped,
        event_table::{EventTable, ago},
        wrap::wrap,
    },
};

/// Rows of each table.
const MOST: usize = 12;

/// The events at the end.
const MOST_EVENTS: usize = 20;

/// The lines of the port that is shown alone.
pub(super) fn lines(
    model: &Model,
    row: &Row,
    now: Timestamp,
    width: usize,
    theme: Theme,
) -> Vec<Line<'static>> {
    let port = &row.port;
    let mut lines = vec![title(port, now, theme), Line::default()];
    paragraph(&mut lines, &holders::details(port), width);
    if let Some(history) = model.histories.get(&port.port).filter(|found| !found.series.is_empty())
    {
        heading(&mut lines, "THE LAST HOUR");
        lines.extend(hour(history, width, theme));
    }
    verdicts(&mut lines, port, now, width);
    sockets(&mut lines, port, width);
    talkers(&mut lines, model, port.port, now);
    heading(&mut lines, "EVENTS");
    let table = EventTable::new(Some(width), false);
    let shown = model.events.about(Some(port.port)).rev().take(MOST_EVENTS);
    lines.extend(shown.map(|line| {
        let text = table.row_of(&line.event, line.count, now);
        Line::styled(text, theme.severity(line.event.severity.as_deref()))
    }));
    heading(&mut lines, "LOOK CLOSER");
    lines.push(Line::raw(format!(
        "ghostport check {0}   ghostport events --port {0} --since 24h   ghostport explain {0}",
        port.port
    )));
    lines
}

fn title(port: &Port, now: Timestamp, theme: Theme) -> Line<'static> {
    let alarm = port.alarm();
    let state = port.state_in_words();
    let service = port.service.clone().unwrap_or_default();
    let slept = match (port.dormant, port.dormant_since) {
        (Some(true), Some(since)) => format!("dormant for {}", ago(since, now)),
        (Some(true), None) => "dormant".to_owned(),
        _ => "awake".to_owned(),
    };
    let last = |name, time: Option<Timestamp>| {
        time.map(|time| format!(", {name} {} ago", ago(time, now))).unwrap_or_default()
    };
    let packet = last("last packet", port.last_packet);
    let bind = last("last bind", port.last_bind);
    Line::from(vec![
        Span::styled(
            format!("{} {} {service}  {state}", alarm.sign(), port.port),
            theme.alarm(alarm),
        ),
        Span::raw(format!("  {slept}{packet}{bind}")),
    ])
}

fn heading(lines: &mut Vec<Line<'static>>, text: &'static str) {
    lines.push(Line::default());
    lines.push(Line::styled(text, HEADING));
}

fn paragraph(lines: &mut Vec<Line<'static>>, text: &str, width: usize) {
    lines.extend(wrap(&escaped(text), width).into_iter().map(Line::raw));
}

/// Packets in and out, each as a sparkline with its sum.
fn hour(history: &History, width: usize, theme: Theme) -> [Line<'static>; 2] {
    let columns = width.saturating_sub(16).clamp(10, 180);
    let sum = |of: fn(&crate::api::history::Series) -> &Vec<u32>| -> f64 {
        history.series.iter().flat_map(of).map(|packets| f64::from(*packets)).sum()
    };
    let line = |name: &str, direction, sum| {
        Line::from(vec![
            Span::raw(format!("{name:<4}")),
            Span::styled(sparkline(history, columns, direction), theme.trend()),
            Span::raw(format!(" {}", short(sum))),
        ])
    };
    [
        line("in", Direction::In, sum(|series| &series.packets_in)),
        line("out", Direction::Out, sum(|series| &series.packets_out)),
    ]
}

fn verdicts(lines: &mut Vec<Line<'static>>, port: &Port, now: Timestamp, width: usize) {
    if port.verdicts.is_empty() {
        return;
    }
    heading(lines, "WHAT THE TRAFFIC IS");
    for found in port.verdicts.iter().take(MOST) {
        let text = format!(
            "{} ×{} over {}, {}, {} ago from {}: {}",
            found.verdict,
            found.count,
            found.transport.name(),
            found.grade,
            ago(found.last_seen, now),
            found.last_peer,
            found.reason,
        );
        paragraph(lines, &text, width);
    }
}

fn sockets(lines: &mut Vec<Line<'static>>, port: &Port, width: usize) {
    if port.sockets.is_empty() {
        return;
    }
    heading(lines, "SOCKETS");
    for socket in port.sockets.iter().take(MOST) {
        paragraph(lines, &socket_line(socket), width);
    }
    if let left @ 1.. = port.sockets.len().saturating_sub(MOST) {
        lines.push(Line::styled(format!("and {left} more"), DIM));
    }
}

fn socket_line(socket: &Socket) -> String {
    let state = socket.tcp_state.map(|state| format!(" {}", state.name())).unwrap_or_default();
    let peer = socket.peer().map(|peer| format!(" → {peer}"));
    let times = if socket.count > 1 { format!(" ×{}", socket.count) } else { String::new() };
    let holders: Vec<String> = socket
        .holders
        .iter()
        .flatten()
        .map(|holder| format!("{}[{}]", holder.name.as_deref().unwrap_or("?"), holder.pid))
        .collect();
    let holders = match (&socket.holders, holders.is_empty()) {
        (None, _) => "a holder that the agent may not see".to_owned(),
        (Some(_), true) => "no process".to_owned(),
        _ => holders.join(", "),
    };
    let expected = match socket.expected {
        Some(true) => ", expected",
        Some(false) => ", not expected",
        None => "",
    };
    let local = socket.local();
    let peer = peer.unwrap_or_default();
    format!("{}{state} {local}{peer}{times}: {holders}{expected}", socket.transport.name())
}

fn talkers(lines: &mut Vec<Line<'static>>, model: &Model, port: u16, now: Timestamp) {
    let of_port = model.talkers.iter().filter(|talkers| talkers.port == port);
    let all: Vec<(&'static str, &Talker)> = of_port
        .flat_map(|talkers| talkers.talkers.iter().map(|one| (talkers.transport.name(), one)))
        .take(MOST)
        .collect();
    if all.is_empty() {
        return;
    }
    heading(lines, "PEERS");
    for (transport, talker) in all {
        let since = talker.counted_since.map(|since| format!(" in {}", ago(since, now)));
        lines.push(Line::raw(format!(
            "{transport:<7} {:<39} {:>5} in {:>5} out{}",
            talker.address.to_string(),
            short(talker.packets_received as f64),
            short(talker.packets_transmitted as f64),
            since.unwrap_or_default(),
        )));
    }
}
