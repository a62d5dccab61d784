//! The page: one line for each socket, and below it lines for each of
//! its holders.

use std::{
    fmt::{self, Write as _},
    sync::Arc,
};

use super::report::{PortReport, Report};
use crate::{
    api::{
        capture::Capture,
        port::Port,
        sender::Sender,
        socket::{Holder, Socket},
    },
    sockets::SocketScope,
    terminal::{
        escape::escaped,
        page::{Page, Paper, fit},
        plural::counted,
        tone::Tone,
        wrap::wrap,
    },
};

/// Columns at which holders and their details begin.
const INDENT: usize = 5;
const DETAILS: usize = 14;

/// Rows of connections that no process holds: of more only the number is shown.
const MOST_FREE: usize = 8;

pub(super) fn page(report: &Report, paper: Paper) -> String {
    Page::written(paper, |page| Writer { page }.report(report))
}

struct Writer<'a> {
    page: &'a mut Page,
}

impl Writer<'_> {
    fn report(&mut self, report: &Report) -> fmt::Result {
        let (busy, quiet): (Vec<_>, Vec<_>) =
            report.ports.iter().partition(|report| is_busy(report));
        let unseen = report.may_have_missed_sockets();
        for busy in busy {
            self.port(busy, unseen)?;
            let several = report.namespaces > 1;
            self.sockets(&busy.port.sockets, several)?;
            busy.targeted_captures().try_for_each(|capture| self.capture(capture, several))?;
            writeln!(self.page)?;
        }
        for quiet in quiet {
            self.port(quiet, unseen)?;
        }
        if report.other_captures.is_empty() {
            return Ok(());
        }
        writeln!(self.page, "\npackets of these ports are taken, or may be, among others:")?;
        let several = report.namespaces > 1;
        report.other_captures.iter().try_for_each(|capture| self.capture(capture, several))
    }

    /// A port; `unseen` is whether there may be sockets that this user cannot see.
    fn port(&mut self, report: &PortReport, unseen: bool) -> fmt::Result {
        let found = report.sockets().map(|socket| socket.count).sum();
        let count = match (found, report.known_to_agent) {
            (0, 0) if report.is_quiet() && unseen => {
                "nothing that is visible to you holds it or talks on it".to_owned()
            }
            (0, 0) if report.is_quiet() => "nothing holds it or talks on it".to_owned(),
            (0, 0) if report.ways().next().is_some() => "no socket holds it".to_owned(),
            (0, 0) => "nothing holds it, and its packets are captured".to_owned(),
            (0, known) => {
                let expected = if report.is_quiet() { ", expected" } else { "" };
                format!("nothing found, but the agent knows of {known}{expected}")
            }
            (1, _) if report.is_quiet() => "1 socket, expected".to_owned(),
            (count, _) if report.is_quiet() => format!("{count} sockets, all expected"),
            (count, _) => counted(count, "socket", "sockets"),
        };
        let is_unexpected = report.sockets().any(|socket| socket.expected == Some(false));
        let tone = match (report.is_quiet() && !unseen, is_unexpected) {
            (true, _) => Tone::Fine,
            (false, true) => Tone::Alarm,
            (false, false) => Tone::Notice,
        };
        let name = report.port.service.as_deref().map(|name| format!(" {}", escaped(name)));
        let name = name.unwrap_or_default();
        let port = self.page.styled(tone.style(), &report.port.port.to_string());
        writeln!(self.page, "{port}{name}: {count}")?;
        if found == 0 && report.known_to_agent > 0 {
            self.line(
                INDENT,
                "in a namespace without a process; the live page and the API say who",
            )?;
        }
        self.agent_facts(&report.port)?;
        if let Some(sender) = &report.port.last_sender {
            self.sender(report.port.port, sender)?;
        }
        for way in &report.port.answered_by {
            self.sentence(2, &way.sentence(report.port.port))?;
        }
        for forwarded in &report.port.forwarded_to {
            self.sentence(2, &forwarded.sentence(report.port.port))?;
        }
        Ok(())
    }

    fn agent_facts(&mut self, port: &Port) -> fmt::Result {
        let dormant = port.dormant.map(|is| if is { "dormant" } else { "not dormant" });
        let paper = self.page.paper();
        let time = |what: &str, time: Option<jiff::Timestamp>| {
            time.map(|time| format!("{what} {}", paper.time(time)))
        };
        let verdicts = port.verdicts.iter().map(|verdict| {
            let times = if verdict.count == 1 {
                "once".to_owned()
            } else {
                format!("{} times", verdict.count)
            };
            Some(format!("{} over {} ({times})", verdict.verdict, verdict.transport.name()))
        });
        let facts = [
            port.state.map(|_| port.state_in_words()),
            dormant.map(str::to_owned),
            time("last packet", port.last_packet),
            time("last bind", port.last_bind),
        ];
        let mut line = String::new();
        for fact in facts.into_iter().chain(verdicts).flatten() {
            if INDENT + line.len() + 2 + fact.len() > self.page.width() {
                self.line(INDENT, &format!("{line},"))?;
                line.clear();
            }
            let comma = if line.is_empty() { "" } else { ", " };
            let _ = write!(line, "{comma}{fact}");
        }
        if line.is_empty() { Ok(()) } else { self.line(INDENT, &line) }
    }

    /// The sockets of a port, with the rows at the end that no process holds cut short.
    fn sockets(&mut self, sockets: &[Socket], with_namespace: bool) -> fmt::Result {
        let is_free = |socket: &Socket| socket.holders.as_ref().is_some_and(Vec::is_empty);
        let (free, held): (Vec<_>, Vec<_>) =
            sockets.iter().partition(|socket| is_free(socket) && socket.peer_address.is_some());
        held.iter().try_for_each(|socket| self.socket(socket, with_namespace))?;
        let (listed, rest) = free.split_at_checked(MOST_FREE).unwrap_or((&free, &[]));
        listed.iter().try_for_each(|socket| self.socket(socket, with_namespace))?;
        if rest.is_empty() {
            return Ok(());
        }
        let count: u64 = rest.iter().map(|socket| socket.count).sum();
        let more = counted(count, "more connection", "more connections");
        let more = format!("{more} that no process holds: see --json");
        self.line(2, &more)
    }

    fn socket(&mut self, socket: &Socket, with_namespace: bool) -> fmt::Result {
        let (local, peer) = (socket.local(), socket.peer());
        let peer = match socket.count {
            1 => peer,
            count => peer.map(|peer| format!("{peer}, {count} times")),
        };
        let state = socket.tcp_state.map(|state| state.name()).unwrap_or_default();
        let namespace = socket.netns_inode.filter(|_| with_namespace);
        let namespace = namespace.map(|inode| format!(" netns {inode}")).unwrap_or_default();
        let head = format!("{:<4} {state:<12} {}", socket.transport.name(), local);
        let room = self.page.width() - 2 - namespace.len();
        // Two long addresses do not fit one line.
        let one_line = peer.as_ref().map(|peer| format!("{head} → {peer}"));
        match (one_line, peer) {
            (Some(line), _) if line.chars().count() < room => {
                self.line(2, &format!("{line:<room$}{namespace}"))?;
            }
            (_, peer) => {
                let fits = head.chars().count() < room;
                let (first, second) = if fits { (&*namespace, "") } else { ("", &*namespace) };
                self.line(2, format!("{head:<room$}{first}").trim_end())?;
                let peer = peer.map(|peer| format!("{:<17} → {peer}", "")).unwrap_or_default();
                if !peer.is_empty() || !second.is_empty() {
                    self.line(2, &format!("{peer:<room$}{second}"))?;
                }
            }
        }
        self.holders(socket.holders.as_deref())?;
        if socket.is_by_chance() {
            return self.line(INDENT, "accepted here: the client has this port by chance");
        }
        match socket.expected {
            Some(true) => self.line(INDENT, "expected owner")?,
            Some(false) => self.line(INDENT, "its owner is not expected")?,
            None => {}
        }
        // A connection is known by its ends.
        match socket.scope.filter(|_| socket.peer_address.is_none()) {
            Some(SocketScope::Host) => self.line(INDENT, "reachable from this host alone"),
            Some(SocketScope::World) => self.line(INDENT, "reachable from elsewhere"),
            None => Ok(()),
        }
    }

    fn capture(&mut self, capture: &Capture, with_namespace: bool) -> fmt::Result {
        let namespace = capture.netns_inode.filter(|_| with_namespace);
        let namespace = namespace.map(|inode| format!(" netns {inode}")).unwrap_or_default();
        let room = self.page.width() - 2 - namespace.len();
        let kind = capture.kind.name().replace('_', " ");
        let head = fit(&format!("{kind}: {}", capture.filter), room);
        self.line(2, format!("{head:<room$}{namespace}").trim_end())?;
        self.holders(capture.holders.as_deref())
    }

    fn sender(&mut self, port: u16, sender: &Sender) -> fmt::Result {
        self.line(
            2,
            &format!(
                "last sent over {}, at {}, by",
                sender.target(port),
                self.page.paper().time(sender.time)
            ),
        )?;
        match &sender.process {
            Some(process) => self.holder(process),
            None => self.line(INDENT, "a process that is not known"),
        }
    }

    fn holders(&mut self, holders: Option<&[Arc<Holder>]>) -> fmt::Result {
        let Some(holders) = holders else {
            return self.line(INDENT, "its holder is not visible to you");
        };
        if holders.is_empty() {
            return self.line(INDENT, "no process holds it");
        }
        holders.iter().try_for_each(|holder| self.holder(holder))
    }

    fn holder(&mut self, holder: &Holder) -> fmt::Result {
        let name = holder.name.as_deref().unwrap_or("?");
        let mut head = format!("{:>8} {name}", holder.pid);
        if let Some(user) = &holder.user {
            let _ = write!(head, ", user {user}");
        }
        if let Some(unit) = &holder.systemd_unit {
            let _ = write!(head, ", {unit}");
        }
        self.line(INDENT, &head)?;
        if let Some(id) = &holder.container_id {
            self.line(DETAILS, &format!("container {id}"))?;
        }
        if let Some(executable) = &holder.executable {
            let deleted = if holder.executable_is_deleted { " (deleted)" } else { "" };
            self.line(DETAILS, &format!("{executable}{deleted}"))?;
        }
        if let Some(arguments) = &holder.command_args {
            self.line(DETAILS, &format!("$ {}", arguments.join(" ")))?;
        }
        let Some(evidence) = &holder.evidence else { return Ok(()) };
        for line in wrap(&evidence.summary, self.page.width() - DETAILS) {
            self.line(DETAILS, &line)?;
        }
        Ok(())
    }

    /// A sentence, which continues further to the right.
    fn sentence(&mut self, indent: usize, text: &str) -> fmt::Result {
        let mut lines = wrap(text, self.page.width() - INDENT).into_iter();
        self.line(indent, &lines.next().unwrap_or_default())?;
        lines.try_for_each(|line| self.line(INDENT, &line))
    }

    /// A line, cut at the width of the terminal.
    fn line(&mut self, indent: usize, text: &str) -> fmt::Result {
        self.page.cut_line(indent, text)
    }
}

/// Whether there is something to list below a port.
fn is_busy(report: &PortReport) -> bool {
    !report.port.sockets.is_empty()
        || !report.port.answered_by.is_empty()
        || report.targeted_captures().next().is_some()
}
