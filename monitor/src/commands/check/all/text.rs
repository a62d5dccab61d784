//! The table for a terminal of 80 columns: a line for each listener.

use std::fmt::{self, Write as _};

use anstyle::AnsiColor;
use jiff::Timestamp;

use super::report::Report;
use crate::{
    api::{
        listener::Listener,
        socket::{Holder, Socket},
    },
    sockets::SocketScope,
    terminal::page::{Page, Paper, WIDTH, fit},
};

/// Widths of the columns but the last.
const ADDRESS: usize = 25;
const HOLDER: usize = 20;
const UNIT: usize = 16;

pub(super) fn page(report: &Report, paper: Paper) -> String {
    Page::written(paper, |page| table(page, report))
}

fn table(page: &mut Page, report: &Report) -> fmt::Result {
    let several = report.namespaces > 1;
    if !report.listeners.is_empty() {
        let heading = row(["", "LISTENS ON", "HELD BY", "UNIT, CONTAINER", "SINCE"]);
        writeln!(page, "{}", heading.trim_end())?;
    }
    for listener in &report.listeners {
        line(page, listener)?;
        if several && let Some(details) = details(listener) {
            page.cut_line(5, &details)?;
        }
    }
    let count = |wanted: Option<bool>| {
        report.listeners.iter().filter(|listener| listener.socket.expected == wanted).count()
    };
    let (expected, others) = (count(Some(true)), count(Some(false)));
    let unknown = report.listeners.len() - expected - others;
    let listeners = report.listeners.len();
    let sum = format!(
        "{listeners} listeners: {expected} expected, {others} unexpected (!), {unknown} not known (?); \
         * reachable from elsewhere"
    );
    page.paragraph("", 0, &sum)?;
    match report.learning {
        Some(true) => page.cut_line(0, "the baseline is being learned"),
        Some(false) => Ok(()),
        None => page.cut_line(0, "no agent that watches listeners says what the baseline has"),
    }
}

fn line(page: &mut Page, listener: &Listener) -> fmt::Result {
    let socket = &listener.socket;
    let (mark, style) = match socket.expected {
        Some(true) => (" ", AnsiColor::Cyan.on_default()),
        Some(false) => ("!", AnsiColor::Magenta.on_default().bold()),
        None => ("?", AnsiColor::Yellow.on_default()),
    };
    let reach = if socket.scope == Some(SocketScope::Host) { " " } else { "*" };
    let local = format!("{} {}", socket.transport.name(), socket.local());
    let since = listener.since.map(day).unwrap_or_default();
    let text = row([
        &format!("{mark}{reach}"),
        &middle(&local, ADDRESS),
        &holder(socket),
        &place(socket),
        &since,
    ]);
    writeln!(page, "{}", page.styled(style, text.trim_end()))
}

fn row([mark, local, holder, place, since]: [&str; 5]) -> String {
    let room = WIDTH - 2 - 1 - ADDRESS - 1 - HOLDER - 1 - UNIT - 1;
    format!(
        "{mark:<2} {:ADDRESS$} {:HOLDER$} {:UNIT$} {}",
        fit(local, ADDRESS),
        fit(holder, HOLDER),
        fit(place, UNIT),
        fit(since, room)
    )
}

/// `nginx[713]`, and how many others.
fn holder(socket: &Socket) -> String {
    let Some(holders) = &socket.holders else { return "not visible".to_owned() };
    let Some(first) = holders.first() else { return "the kernel".to_owned() };
    let others = match holders.len() - 1 {
        0 => String::new(),
        others => format!("+{others}"),
    };
    let pid = format!("[{}]{others}", first.pid);
    format!("{}{pid}", middle(&name(first), HOLDER.saturating_sub(pid.len())))
}

fn name(holder: &Holder) -> String {
    let executable = holder.executable.as_deref().and_then(|path| path.rsplit('/').next());
    holder.name.as_deref().or(executable).unwrap_or("process").to_owned()
}

/// The unit, or the container, or the user.
fn place(socket: &Socket) -> String {
    let Some(first) = socket.holders.as_ref().and_then(|holders| holders.first()) else {
        return String::new();
    };
    let container = first.container_id.as_deref().map(|id| id.chars().take(12).collect());
    let unit = first.systemd_unit.clone();
    let user = first.user.as_deref().map(|user| format!("user {user}"));
    let place: Option<String> = container.or(unit).or(user);
    middle(&place.unwrap_or_default(), UNIT)
}

/// The registered service and the namespace, if the host has several.
fn details(listener: &Listener) -> Option<String> {
    let namespace = listener.socket.netns_inode.map(|inode| format!("netns {inode}"))?;
    Some(match &listener.service {
        Some(service) => format!("{namespace}, {service}"),
        None => namespace,
    })
}

/// The time of today, or the day.
fn day(time: Timestamp) -> String {
    let text = format!("{time:.0}");
    let today = format!("{:.0}", Timestamp::now());
    match (text.split_once('T'), today.split_once('T')) {
        (Some((day, hour)), Some((now, _))) if day == now => hour.chars().take(5).collect(),
        (Some((day, _)), _) => day.to_owned(),
        _ => text,
    }
}

/// `text`, cut in the middle: both ends of a name or an address say more.
fn middle(text: &str, width: usize) -> String {
    let count = text.chars().count();
    if count <= width {
        return text.to_owned();
    }
    let (head, tail) = ((width - 1).div_ceil(2), (width - 1) / 2);
    let head: String = text.chars().take(head).collect();
    let tail: String = text.chars().skip(count - tail).collect();
    format!("{head}…{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sockets::{self, OpenListener, udp_socket};

    #[test]
    fn every_line_fits_80_columns() {
        let mut socket = udp_socket(53);
        socket.entry.local = "[2001:db8:1234:5678:9abc:def0:1234:5678]:65535".parse().expect("one");
        let found = sockets::Listeners {
            listeners: vec![OpenListener { socket, port_was_named: None }],
            namespaces: 2,
            ..sockets::Listeners::default()
        };
        let page = page(&Report::new(found, None, |_| false), Paper::PLAIN);
        assert!(page.lines().all(|line| line.chars().count() <= WIDTH), "{page}");
        assert!(page.contains("udp [2001:db…:5678]:65535"), "{page}");
        assert!(
            page.contains("1 listeners: 0 expected, 0 unexpected (!), 1 not known (?)"),
            "{page}"
        );
    }

    #[test]
    fn names_are_cut_in_the_middle() {
        assert_eq!(middle("four", 4), "four");
        assert_eq!(middle("kannel-box.service", 9), "kann…vice");
    }
}
