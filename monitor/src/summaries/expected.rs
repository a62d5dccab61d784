//! What owners that the configuration expects did within a day.

use std::collections::{BTreeMap, btree_map::Entry};

use monitor_common::flow::Protocol;
use monitor_ledger::ClockReading;

use super::group::DAY_NS;
use crate::event::{Event, EventBody, Repeats, Summary};

/// Sums up the binds of expected owners by port and protocol, beside the events that they have of
/// their own. A summary covers a day from the first bind on.
#[derive(Debug, Default)]
pub struct ExpectedActivity {
    days: BTreeMap<(u16, Option<&'static str>), Day>,
}

#[derive(Debug)]
struct Day {
    /// `CLOCK_BOOTTIME`.
    began_ns: u64,
    repeats: Repeats,
    last: Event,
}

impl ExpectedActivity {
    /// Adds an event, if it is a bind of an expected owner.
    pub fn ingest(&mut self, event: &Event, now_ns: u64) {
        let EventBody::Bind(bind) = &event.body else { return };
        let (Some(true), Some(port)) = (bind.expected, event.port()) else { return };
        let key = (port, bind.call.socket.transport.map(Protocol::name));
        let (new, last) = (event.stands_for(), event.clone());
        match self.days.entry(key) {
            Entry::Vacant(entry) => {
                entry.insert(Day { began_ns: now_ns, repeats: new, last });
            }
            Entry::Occupied(mut entry) => {
                let day = entry.get_mut();
                day.repeats = day.repeats.and(new);
                day.last = last;
            }
        }
    }

    /// The summaries of days that are over.
    pub fn expire(&mut self, now: ClockReading) -> Vec<Event> {
        let is_over = |_: &_, day: &mut Day| now.boottime_ns.saturating_sub(day.began_ns) >= DAY_NS;
        let over = self.days.extract_if(.., is_over);
        over.map(|(_, day)| day.into_summary(now)).collect()
    }

    /// The summaries of all days, for the end of the agent.
    pub fn flush(&mut self, now: ClockReading) -> Vec<Event> {
        let days = std::mem::take(&mut self.days);
        days.into_values().map(|day| day.into_summary(now)).collect()
    }
}

impl Day {
    fn into_summary(self, now: ClockReading) -> Event {
        let Event { host_name, body, .. } = self.last;
        let body = EventBody::Summary(Summary::Expected { last: Box::new(body) });
        Event { time: now.wall, host_name, body, repeats: Some(self.repeats) }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use jiff::{SignedDuration, Timestamp};
    use monitor_common::socket_event::Mechanism;

    use super::*;
    use crate::event::{Bind, Call, EventContext, EventName, Severity, SocketFields};

    fn at(seconds: u64) -> ClockReading {
        let wall = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds as i64);
        ClockReading { wall, boottime_ns: seconds * 1_000_000_000 }
    }

    /// A bind at this time.
    fn bind(seconds: u64, expected: Option<bool>) -> Event {
        event(seconds, EventBody::Bind(Bind { call: call(), expected }))
    }

    fn event(seconds: u64, body: EventBody) -> Event {
        let context = EventContext { host_name: "host".into(), clock_offset_ns: 0 };
        Event::new(at(seconds).wall, body, &context)
    }

    fn call() -> Call {
        let socket = SocketFields::at(Protocol::Udp, (Ipv4Addr::LOCALHOST, 2948).into());
        Call { socket, caller: None, mechanism: Mechanism::Fexit }
    }

    #[test]
    fn sums_up_the_binds_of_expected_owners_once_a_day() {
        let mut activity = ExpectedActivity::default();
        for (seconds, expected) in
            [(10, Some(true)), (20, Some(false)), (30, None), (80_000, Some(true))]
        {
            activity.ingest(&bind(seconds, expected), seconds * 1_000_000_000);
        }
        activity
            .ingest(&event(40, EventBody::Close(Bind { call: call(), expected: Some(true) })), 0);
        assert_eq!(activity.expire(at(86_409)), []);
        let summaries = activity.expire(at(86_410));
        let [summary] = &summaries[..] else { panic!("{summaries:?}") };
        let repeats = Repeats { count: 2, first: at(10).wall, last: at(80_000).wall };
        assert_eq!(summary.repeats, Some(repeats));
        assert_eq!((summary.name(), summary.port()), (EventName::Summary, Some(2948)));
        assert_eq!(summary.severity(), Severity::Info);
        assert_eq!(activity.expire(at(300_000)), []);
    }

    #[test]
    fn the_end_of_the_agent_ends_the_day() {
        let mut activity = ExpectedActivity::default();
        activity.ingest(&bind(10, Some(true)), 0);
        assert_eq!(activity.flush(at(11)).len(), 1);
        assert_eq!(activity.flush(at(12)), []);
    }
}
