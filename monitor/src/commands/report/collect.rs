//! From the history to the statement of one host.

use std::{collections::BTreeMap, net::IpAddr};

use anyhow::Result;
use jiff::Timestamp;
use monitor_common::flow::{Direction, Side, Traffic};
use monitor_ledger::{
    PortState,
    days::{Day, DayRecord, Distinct, Holding, HostDay, TalkerCount},
};

use super::coverage::{self, HostCoverage};
use crate::{
    api::report::{
        Binds, Caller, Callers, DayReport, Gap, Holder, HostReport, LeftOut, Packets, PortReport,
        Program, REPORT_SCHEMA, Report, Verdict,
    },
    catalogue,
    store::{HistoryReader, Period},
};

/// Gaps and holders that the document has.
const MOST_GAPS: usize = 100;
const MOST_HOLDERS: u32 = 100;

/// Talkers that the document has.
const MOST_CALLERS: usize = 10;

/// The statement about `ports` in a time.
pub(super) fn report(
    reader: &HistoryReader,
    ports: &[u16],
    (since, now): (Timestamp, Timestamp),
    host: &str,
) -> Result<Report> {
    let wanted = Period { since: since.min(now), until: now };
    let chronicle = reader.chronicle()?;
    let (began, saved) =
        chronicle.as_ref().map_or((now, now), |chronicle| (chronicle.began, chronicle.wall));
    let known = HostCoverage::new(wanted, began, saved, reader.gaps(wanted)?);
    let days = reader.host(known.period)?;
    let ports = ports
        .iter()
        .map(|port| port_report(reader, *port, (&known, &days), host))
        .collect::<Result<Vec<_>>>()?;
    let verdict = ports.iter().map(|port| port.verdict).max().unwrap_or(Verdict::Unknown);
    let Period { since, until } = known.period;
    let (gaps, gap_count) = gaps(&known);
    let host = HostReport {
        host: host.to_owned(),
        generated: now,
        since,
        until,
        verdict,
        history_began: chronicle.map(|chronicle| chronicle.began),
        events_lost: days.iter().map(|(_, day)| day.lost).sum(),
        gaps,
        gap_count,
    };
    let schema = REPORT_SCHEMA.to_owned();
    Ok(Report { schema, generated: now, since, until, verdict, hosts: vec![host], ports })
}

fn gaps(known: &HostCoverage) -> (Vec<Gap>, u64) {
    let mut gaps: Vec<Gap> = known
        .gaps
        .iter()
        .map(|gap| Gap { since: gap.since, until: gap.until, seconds: known.seconds_of(gap) })
        .collect();
    let count = gaps.len() as u64;
    gaps.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    gaps.truncate(MOST_GAPS);
    gaps.sort_by_key(|gap| gap.since);
    (gaps, count)
}

fn port_report(
    reader: &HistoryReader,
    port: u16,
    (known, host_days): (&HostCoverage, &[(Day, HostDay)]),
    host: &str,
) -> Result<PortReport> {
    let days = reader.days(port, known.period)?;
    let holdings = reader.holdings(port, known.period, MOST_HOLDERS)?;
    let coverage = known.of_port(&reader.watched(port)?);
    let mut sum = DayRecord::default();
    // Days that are over by the begin of the time, and whose last packet was before it, say nothing.
    let in_time = days.iter().filter(|(day, record)| is_in(*day, record, known.period));
    in_time.for_each(|(_, record)| sum.merge(record));
    let addresses = addresses(days.iter().map(|(_, record)| &record.addresses));
    let mut report = PortReport {
        port,
        host: host.to_owned(),
        service: catalogue::lookup(port).map(|service| service.name.to_owned()),
        verdict: Verdict::Unknown,
        reasons: Vec::new(),
        packets: own_packets(&sum),
        first_packet: sum.packets_between.and_then(|(first, _)| Timestamp::from_second(first).ok()),
        last_packet: sum.packets_between.and_then(|(_, last)| Timestamp::from_second(last).ok()),
        attempts: sum.all_calls().attempts,
        answers: sum.all_calls().answers,
        flows_begun: sum.all_calls().begun,
        callers: Callers { addresses, talkers: callers(&sum) },
        binds: binds(&sum),
        holders: holdings.iter().map(Holder::from).collect(),
        verdicts: sum.verdicts.ranked().into_iter().map(|(name, n)| (name.clone(), n)).collect(),
        states: states(&sum),
        left_out: left_out(&sum),
        days: day_reports(&days, host_days, &holdings),
        coverage,
    };
    judge(&mut report);
    Ok(report)
}

/// Whether a day has something of the time: the first one may be of before it alone.
fn is_in(day: Day, record: &DayRecord, period: Period) -> bool {
    let last = record.packets_between.map(|(_, last)| last);
    let has_binds = record.all_calls().binds + record.all_calls().refused > 0;
    day.begin() >= period.since
        || has_binds
        || last.is_none_or(|last| last >= period.since.as_second())
}

/// Says what can be said, and why.
fn judge(report: &mut PortReport) {
    let mut reasons = Vec::new();
    let mut say = |is_so: bool, why: String| {
        if is_so {
            reasons.push(why);
        }
    };
    let received = report.packets.received;
    let count = |count: u64, one: &str, many: &str| {
        format!("{count} {}", if count == 1 { one } else { many })
    };
    say(received > 0, format!("{} came to this host", count(received, "packet", "packets")));
    let sent = report.packets.sent;
    say(received == 0 && sent > 0, format!("{} left from it", count(sent, "packet", "packets")));
    let begun = report.flows_begun;
    say(begun > 0, format!("this host began {} to it elsewhere", count(begun, "flow", "flows")));
    let Binds { succeeded, refused, .. } = report.binds;
    say(succeeded > 0, format!("{} succeeded", count(succeeded, "bind", "binds")));
    say(refused > 0, format!("{} refused", count(refused, "bind was", "binds were")));
    let holders = report.holders.len() as u64;
    say(holders > 0, format!("{} it", count(holders, "process held", "processes held")));
    let is_used = !reasons.is_empty();
    reasons.extend(coverage::reason(&report.coverage));
    report.verdict = match (is_used, report.coverage.is_whole) {
        (true, _) => Verdict::Used,
        (false, true) => Verdict::Unused,
        (false, false) => Verdict::Unknown,
    };
    if reasons.is_empty() {
        reasons.push("no packet, bind or holder, and the time is covered".to_owned());
    }
    report.reasons = reasons;
}

/// How many addresses there were on several days together.
fn addresses<'a>(days: impl Iterator<Item = &'a Distinct>) -> u64 {
    let mut all = Distinct::default();
    days.for_each(|day| all.merge(day));
    all.estimate()
}

fn packets(record: &DayRecord, side: Side) -> Packets {
    let received = record.side(Direction::Ingress, side);
    let sent = record.side(Direction::Egress, side);
    of_traffic(received, sent)
}

const fn of_traffic(received: Traffic, sent: Traffic) -> Packets {
    Packets {
        received: received.packets,
        bytes_received: received.bytes,
        sent: sent.packets,
        bytes_sent: sent.bytes,
    }
}

/// Packets at this host.
fn own_packets(record: &DayRecord) -> Packets {
    packets(record, Side::Local)
}

const fn of_talker(count: &TalkerCount) -> Packets {
    let [received, sent] = count.packets;
    let [bytes_received, bytes_sent] = count.bytes;
    Packets { received, bytes_received, sent, bytes_sent }
}

fn callers(record: &DayRecord) -> Vec<Caller> {
    let ranked: Vec<(&IpAddr, TalkerCount)> = record.talkers.ranked();
    let callers = ranked.into_iter().take(MOST_CALLERS);
    callers
        .map(|(address, count)| Caller { address: *address, packets: of_talker(&count) })
        .collect()
}

fn binds(record: &DayRecord) -> Binds {
    let calls = record.all_calls();
    let known = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let programs = record.programs.ranked().into_iter().map(|(program, count)| Program {
        executable: known(&program.executable),
        user: known(&program.user),
        succeeded: count.succeeded,
        refused: count.refused,
    });
    let programs = programs.collect();
    Binds { succeeded: calls.binds, refused: calls.refused, programs }
}

fn states(record: &DayRecord) -> BTreeMap<String, f64> {
    let times = PortState::ALL.iter().zip(record.states).filter(|(_, time)| *time > 0);
    times.map(|(state, time)| (state.name().to_owned(), time as f64 / 1e9)).collect()
}

fn left_out(record: &DayRecord) -> LeftOut {
    let began_none = record.all_calls().begun == 0;
    LeftOut {
        transit: packets(record, Side::Transit),
        by_chance: if began_none { packets(record, Side::Remote) } else { Packets::default() },
    }
}

fn day_reports(
    days: &[(Day, DayRecord)],
    host_days: &[(Day, HostDay)],
    holdings: &[Holding],
) -> Vec<DayReport> {
    let covered: BTreeMap<Day, u64> =
        host_days.iter().map(|(day, host)| (*day, host.covered_ns)).collect();
    let held = |day: Day| {
        let (begin, end) = (day.begin(), day.next().begin());
        let ends_later = |until: Option<Timestamp>| until.is_none_or(|until| until >= begin);
        holdings.iter().any(|held| held.since < end && ends_later(held.until))
    };
    let each = |(day, record): &(Day, DayRecord)| DayReport {
        day: day.to_string(),
        covered_seconds: covered.get(day).map_or(0.0, |ns| *ns as f64 / 1e9),
        packets: own_packets(record),
        flows_begun: record.all_calls().begun,
        addresses: record.addresses.estimate(),
        binds: record.all_calls().binds,
        refused: record.all_calls().refused,
        held: held(*day),
    };
    days.iter().map(each).collect()
}
