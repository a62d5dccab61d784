//! Listeners as rows of a table.

use jiff::Timestamp;

use super::{
    event_table::ago,
    table::{Cell, Column, Row},
    tone::Tone,
};
use crate::{
    api::{
        listener::Listener,
        socket::{Holder, Socket},
    },
    sockets::SocketScope,
};

/// The columns, the signs first.
pub(crate) const COLUMNS: [Column; 8] = [
    Column::new("", 2),
    Column::new("LISTENS ON", 20).growing(2, usize::MAX).middle(),
    Column::new("SERVICE", 8).growing(1, usize::MAX).from(100),
    Column::new("HELD BY", 16).growing(2, usize::MAX),
    Column::new("UNIT, CONTAINER", 15).growing(1, usize::MAX).middle(),
    Column::new("NETNS", 10),
    Column::new("SINCE (UTC)", 11),
    Column::new("AGO", 4).right().from(90),
];

/// A listener; `several` is whether the host has several network namespaces. `!` marks one that is not
/// expected, `?` one of which that is not known, and `*` one that can be reached from elsewhere.
pub(crate) fn row(listener: &Listener, several: bool, now: Option<Timestamp>) -> Row {
    let socket = &listener.socket;
    let mark = match socket.expected {
        Some(true) => " ",
        Some(false) => "!",
        None => "?",
    };
    let reach = if socket.scope == Some(SocketScope::Host) { " " } else { "*" };
    let netns = socket.netns_inode.filter(|_| several).map(|inode| inode.to_string());
    let since = listener.since.zip(now);
    let cells = vec![
        Cell::text(format!("{mark}{reach}")),
        Cell::text(format!("{} {}", socket.transport.name(), socket.local())),
        Cell::text(listener.service.clone().unwrap_or_default()),
        holder(socket),
        Cell::text(place(socket)),
        Cell::text(netns.unwrap_or_default()),
        Cell::text(since.map(|(since, now)| day(since, now)).unwrap_or_default()),
        Cell::text(since.map(|(since, now)| ago(since, now)).unwrap_or_default()),
    ];
    Row { style: Some(Tone::of_expected(socket.expected).style()), cells }
}

/// `nginx[713]`, and how many others.
fn holder(socket: &Socket) -> Cell {
    let Some(holders) = &socket.holders else { return Cell::text("not visible") };
    let Some(first) = holders.first() else { return Cell::text("the kernel") };
    let others = match holders.len() - 1 {
        0 => String::new(),
        others => format!("+{others}"),
    };
    Cell::program(&name(first), format!("[{}]{others}", first.pid), None)
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
    place.unwrap_or_default()
}

/// The time of today, or the day.
fn day(time: Timestamp, now: Timestamp) -> String {
    let text = format!("{time:.0}");
    let today = format!("{now:.0}");
    match (text.split_once('T'), today.split_once('T')) {
        (Some((day, hour)), Some((now, _))) if day == now => hour.chars().take(5).collect(),
        (Some((day, _)), _) => day.to_owned(),
        _ => text,
    }
}
