//! `check --at`: who held a port at an earlier time, and what is not known of it, from the history.

use std::{
    fmt::{self, Write as _},
    process::ExitCode,
};

use anyhow::Result;
use jiff::Timestamp;
use monitor_ledger::{
    PortState,
    days::{Day, Gap, SavedChronicle},
};
use serde::Serialize;

use super::report::Outcome;
use crate::{
    api::{
        report::Holder,
        then::{PortThen, SocketThen},
    },
    catalogue,
    cli::CheckArgs,
    config::{Config, Overrides},
    schema::CHECK_SCHEMA,
    store::{HistoryReader, Period, with_remedy},
    terminal::{
        escape::escaped,
        output::{self, CANNOT_LOOK, fail, print},
        page::{Page, Paper},
    },
};

/// Holders of a port at one time at most.
const MOST_HOLDERS: u32 = 100;

/// The document.
#[derive(Debug, Serialize)]
struct Then {
    schema: &'static str,
    at: Timestamp,
    ports: Vec<PortThen>,
}

/// Prints what was at a time.
pub(super) fn run(args: &CheckArgs, at: Timestamp) -> ExitCode {
    let then = match look(args, at) {
        Ok(then) => then,
        Err(error) => return fail(CANNOT_LOOK, &error),
    };
    let page = if args.json {
        output::pretty_json(&then).unwrap_or_default()
    } else {
        Page::written(Paper::stdout(), |page| write(page, &then))
    };
    let printed = print(page);
    if printed == ExitCode::SUCCESS { outcome(&then.ports).into() } else { printed }
}

fn look(args: &CheckArgs, at: Timestamp) -> Result<Then> {
    let config = Config::load(args.config.path.as_deref(), &Overrides::default())?;
    let reader = HistoryReader::open(&config.store.path).map_err(with_remedy)?;
    let ports = args.ports().unwrap_or_else(|| config.port_numbers().collect());
    let history = History::open(&reader, at)?;
    let ports = ports.iter().map(|port| history.port(*port)).collect::<Result<_>>()?;
    Ok(Then { schema: CHECK_SCHEMA, at, ports })
}

/// What the history has of a time on all ports.
struct History<'a> {
    reader: &'a HistoryReader,
    at: Timestamp,
    chronicle: Option<SavedChronicle>,
    gap: Option<Gap>,
    /// Events that were lost on that day, and holders that were not kept.
    lost: (u64, u64),
}

impl<'a> History<'a> {
    fn open(reader: &'a HistoryReader, at: Timestamp) -> Result<Self> {
        let moment = Period { since: at, until: at };
        let gaps = reader.gaps(Period { since: at, until: Timestamp::MAX })?;
        let gap = gaps.into_iter().find(|gap| gap.since < at && at <= gap.until);
        let days = reader.host(moment)?;
        let lost = days.first().map_or((0, 0), |(_, day)| (day.lost, day.unkept));
        Ok(Self { reader, at, chronicle: reader.chronicle()?, gap, lost })
    }

    fn port(&self, port: u16) -> Result<PortThen> {
        let (reader, at) = (self.reader, self.at);
        let watched = reader.watched(port)?;
        let is_watched = |(since, until): &(Timestamp, Option<Timestamp>)| {
            *since <= at && until.is_none_or(|until| at < until)
        };
        let is_watched = watched.iter().any(is_watched);
        let mut not_known = Vec::new();
        let is_known = self.is_known(&mut not_known);
        if is_known && !is_watched {
            not_known.push("the port was not watched then".to_owned());
        }
        let (lost, unkept) = self.lost;
        if lost > 0 {
            not_known.push(format!("{lost} events were lost on that day"));
        }
        if unkept > 0 {
            not_known.push(format!("{unkept} holders of ports were not kept on that day"));
        }
        let moment = Period { since: at, until: at };
        let holdings = reader.holdings(port, moment, MOST_HOLDERS)?;
        let sockets = holdings.iter().map(Holder::from).map(|holder| SocketThen {
            transport: holder.transport.clone(),
            side: "local".to_owned(),
            holders: vec![holder],
        });
        let state = reader.state_at(port, at)?.filter(|_| is_watched);
        // A port that was never in another state has no row.
        let idle = || (None, PortState::Quiet.name().to_owned(), true);
        let state = state.map(|(since, state, dormant)| (Some(since), state, dormant));
        let state = state.or_else(|| (is_known && is_watched).then(idle));
        let state_until = reader.next_state(port, at)?.filter(|_| is_watched);
        Ok(PortThen {
            port,
            service: catalogue::lookup(port).map(|service| service.name.to_owned()),
            state: state.as_ref().map(|(_, state, _)| state.clone()),
            state_since: state.as_ref().and_then(|(since, ..)| *since),
            state_until,
            dormant: state.as_ref().map(|(_, _, dormant)| *dormant),
            last_packet: self.last_packet(port)?,
            sockets: sockets.collect(),
            not_known,
        })
    }

    /// Whether an agent looked at that time; if not, adds why not.
    fn is_known(&self, not_known: &mut Vec<String>) -> bool {
        let before = not_known.len();
        match &self.chronicle {
            None => not_known.push("the history is empty".to_owned()),
            Some(chronicle) if self.at < chronicle.began => {
                not_known.push(format!("the history begins at {:.0}", chronicle.began));
            }
            Some(chronicle) if self.at > chronicle.wall => {
                not_known.push(format!("the agent last saved it at {:.0}", chronicle.wall));
            }
            Some(_) => {}
        }
        if let Some(Gap { since, until, .. }) = self.gap {
            not_known.push(format!("no agent looked from {since:.0} to {until:.0}"));
        }
        not_known.len() == before
    }

    /// The last packet before that time, where it is known to the moment: the last one of a day that ended
    /// before, or of that day if none came later on it.
    fn last_packet(&self, port: u16) -> Result<Option<Timestamp>> {
        let period = Period { since: Timestamp::UNIX_EPOCH, until: self.at };
        let days = self.reader.days(port, period)?;
        let mut with_packets = days
            .iter()
            .rev()
            .filter_map(|(day, record)| record.packets_between.map(|(_, last)| (*day, last)));
        let newest = with_packets.next();
        let newest =
            newest.filter(|(day, last)| *day < Day::of(self.at) || *last <= self.at.as_second());
        Ok(newest.and_then(|(_, last)| Timestamp::from_second(last).ok()))
    }
}

/// Whether something held a port, and if not, whether that is known of all of them.
fn outcome(ports: &[PortThen]) -> Outcome {
    if ports.iter().any(|port| !port.sockets.is_empty()) {
        Outcome::Found
    } else if ports.iter().any(|port| port.state.is_none() || !port.not_known.is_empty()) {
        Outcome::Unsure
    } else {
        Outcome::Quiet
    }
}

fn write(page: &mut Page, then: &Then) -> fmt::Result {
    writeln!(page, "at {}\n", page.paper().time(then.at))?;
    then.ports.iter().try_for_each(|port| write_port(page, port))
}

fn write_port(page: &mut Page, port: &PortThen) -> fmt::Result {
    let service = port.service.as_deref().map(|name| format!(" {}", escaped(name)));
    let mut words = match &port.state {
        Some(state) => state.clone(),
        None => "its state is not known".to_owned(),
    };
    if port.dormant == Some(true) {
        words.push_str(", dormant");
    }
    if let Some(since) = port.state_since {
        words.push_str(&format!(", since {since:.0}"));
    }
    if let Some(until) = port.state_until {
        words.push_str(&format!(" until {until:.0}"));
    }
    if port.sockets.is_empty() && port.state.is_some() {
        words.push_str("; nothing is known to have held it");
    }
    let service = service.unwrap_or_default();
    writeln!(page, "{}{service}:", port.port)?;
    page.paragraph("     ", 5, &words)?;
    for holder in port.sockets.iter().flat_map(|socket| &socket.holders) {
        page.paragraph("     ", 5, &format!("held by {}", holder.sentence()))?;
    }
    if let Some(last) = port.last_packet {
        page.paragraph("     ", 5, &format!("last packet {last:.0}"))?;
    }
    port.not_known
        .iter()
        .try_for_each(|what| page.paragraph("     ", 5, &format!("not known: {what}")))
}
