//! Events alike, in a world with a clock of its own.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use monitor_common::{
    flow::{Direction, Protocol},
    socket_event::Mechanism,
};
use monitor_identify::{Grade, Identification, Verdict};
use monitor_ledger::ClockReading;

use super::Summarizer;
use crate::event::{
    Bind, Call, CallerFields, Connect, Conversations, Event, EventBody, EventContext, Identified,
    SocketFields, Summary,
};

const MINUTE: u64 = 60;
const DAY: u64 = 86_400;

/// A summarizer, and what it has emitted.
#[derive(Default)]
struct Bench {
    summarizer: Summarizer,
    /// Seconds.
    now: u64,
    emitted: Vec<Event>,
}

fn at(seconds: u64) -> ClockReading {
    let since = SignedDuration::from_secs(seconds as i64);
    ClockReading {
        wall: Timestamp::UNIX_EPOCH + since,
        boottime_ns: 1_000 + seconds * 1_000_000_000,
    }
}

fn event(body: EventBody, seconds: u64) -> Event {
    let context = EventContext { host_name: "host".into(), clock_offset_ns: 0 };
    Event::new(at(seconds).wall, body, &context)
}

impl Bench {
    fn ingest(&mut self, body: EventBody) -> bool {
        let emitted = self.summarizer.ingest(event(body, self.now), at(self.now).boottime_ns);
        let is_emitted = emitted.is_some();
        self.emitted.extend(emitted);
        is_emitted
    }

    /// Lets time pass, second by second.
    fn wait(&mut self, seconds: u64) -> Vec<Event> {
        let mut summaries = Vec::new();
        for _ in 0..seconds {
            self.now += 1;
            summaries.extend(self.summarizer.expire(at(self.now)));
        }
        self.emitted.extend(summaries.iter().cloned());
        summaries
    }

    /// How many events the emitted ones stand for, once all summaries are there.
    fn accounted(&mut self) -> u64 {
        self.emitted.extend(self.summarizer.flush(at(self.now)));
        let count = |event: &Event| event.repeats.map_or(1, |repeats| repeats.count);
        self.emitted.iter().map(count).sum()
    }
}

fn count(event: &Event) -> u64 {
    event.repeats.expect("a sum").count
}

fn http(peer: impl Into<IpAddr>) -> EventBody {
    identified(peer.into(), Verdict::Http, Direction::Ingress)
}

fn identified(peer: IpAddr, verdict: Verdict, direction: Direction) -> EventBody {
    EventBody::Identified(Identified {
        socket: socket(),
        port: 2948,
        peer: (peer, 40_000).into(),
        interface: Some("eth0".into()),
        direction,
        identification: Identification::new(verdict, Grade::Confirmed, "a reason"),
        payload_size: Some(100),
        kept: None,
    })
}

fn socket() -> SocketFields {
    SocketFields {
        transport: Some(Protocol::Tcp),
        family: None,
        local_address: Some([192, 0, 2, 1].into()),
        local_port: Some(2948),
        service: Some("wap-push"),
        netns_inode: Some(1),
        ..SocketFields::unknown()
    }
}

fn call(pid: u32, user: u32, argument: &str) -> Call {
    let caller = CallerFields {
        pid,
        creation_time: Some(Timestamp::UNIX_EPOCH),
        executable_name: Some("nc".into()),
        command_args: Some(vec!["nc".into(), argument.to_owned()]),
        user_id: Some(user),
        ..CallerFields::default()
    };
    Call { socket: socket(), caller: Some(caller), mechanism: Mechanism::Fexit }
}

fn bind(pid: u32, user: u32, argument: &str) -> EventBody {
    EventBody::Bind(Bind { call: call(pid, user, argument), expected: None })
}

fn connect(peer: [u8; 4]) -> EventBody {
    let mut call = call(7, 0, "-u");
    (call.socket.local_address, call.socket.local_port) = (None, None);
    EventBody::Connect(Connect { call, peer_address: Some(peer.into()), port: 2948 })
}

fn conversations(event: &Event) -> &Conversations {
    let EventBody::Summary(Summary::Conversations(conversations)) = &event.body else {
        panic!("no summary of conversations: {event:?}")
    };
    conversations
}

#[test]
fn emits_the_first_conversation_and_sums_up_the_rest() {
    let mut bench = Bench::default();
    for last in [7, 7, 9, 7] {
        bench.ingest(http([192, 0, 2, last]));
    }
    assert_eq!(bench.emitted.len(), 1);
    assert!(bench.wait(5 * MINUTE - 1).is_empty());
    let summaries = bench.wait(1);
    let [summary] = &*summaries else { panic!("{summaries:?}") };
    assert_eq!(count(summary), 3);
    assert_eq!(summary.time, at(5 * MINUTE).wall);
    let of = conversations(summary);
    assert_eq!((of.peers, of.bytes), (2, 300));
    assert_eq!(of.network, Some(([192, 0, 2, 0].into(), 24)));
}

#[test]
fn sums_up_what_a_program_sends_to_one_network() {
    let mut bench = Bench::default();
    assert!(bench.ingest(connect([192, 0, 2, 7])));
    assert!(bench.ingest(connect([198, 51, 100, 7])), "another network");
    for last in [7, 8] {
        assert!(!bench.ingest(connect([192, 0, 2, last])));
    }
    assert!(!bench.ingest(connect([198, 51, 100, 7])));
    let mut summaries = bench.wait(5 * MINUTE);
    summaries.sort_by_key(count);
    let of = |event: &Event| match &event.body {
        EventBody::Summary(Summary::Calls { last, .. }) => match &**last {
            EventBody::Connect(connect) => (count(event), connect.peer_address),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    let summed: Vec<_> = summaries.iter().map(of).collect();
    assert_eq!(summed, [(1, Some([198, 51, 100, 7].into())), (2, None)]);
    assert!(summaries.iter().all(|summary| summary.port() == Some(2948)));
}

#[test]
fn emits_another_verdict_direction_or_network_at_once() {
    let mut bench = Bench::default();
    let peer = IpAddr::from([192, 0, 2, 7]);
    let v6 = |last| IpAddr::from([0x2001, 0xdb8, 0, last, 0, 0, 0, 1]);
    assert!(bench.ingest(http(peer)));
    assert!(bench.ingest(identified(peer, Verdict::Tls, Direction::Ingress)));
    assert!(bench.ingest(identified(peer, Verdict::Http, Direction::Egress)));
    assert!(bench.ingest(http([192, 0, 3, 7])));
    assert!(bench.ingest(http(v6(1))) && bench.ingest(http(v6(2))));
    assert!(!bench.ingest(http([0x2001, 0xdb8, 0, 2, 9, 9, 9, 9])), "of the same /64");
    assert!(!bench.ingest(identified(peer, Verdict::Tls, Direction::Ingress)));
}

#[test]
fn summaries_become_rarer_up_to_one_an_hour() {
    let mut bench = Bench::default();
    let mut times = Vec::new();
    for _ in 0..4 * 60 {
        bench.ingest(http([192, 0, 2, 7]));
        times.extend(bench.wait(MINUTE).iter().map(|_| bench.now / MINUTE));
    }
    assert_eq!(times, [5, 15, 35, 75, 135, 195]);
    assert_eq!(bench.accounted(), 4 * 60);
}

#[test]
fn silence_brings_back_early_summaries() {
    let mut bench = Bench::default();
    for _ in 0..60 {
        bench.ingest(http([192, 0, 2, 7]));
        bench.wait(MINUTE);
    }
    bench.wait(3 * 60 * MINUTE);
    bench.ingest(http([192, 0, 2, 7]));
    assert_eq!(bench.wait(5 * MINUTE).len(), 1);
}

#[test]
fn emits_a_conversation_again_after_a_day() {
    let mut bench = Bench::default();
    let mut emitted = 0;
    for _ in 0..49 {
        emitted += usize::from(bench.ingest(http([192, 0, 2, 7])));
        bench.now += 3_600;
        bench.emitted.extend(bench.summarizer.expire(at(bench.now)));
    }
    assert_eq!(emitted, 3);
    bench.now += DAY + 1;
    assert!(bench.ingest(http([192, 0, 2, 7])));
}

#[test]
fn sums_up_the_calls_of_a_process_by_kind() {
    let mut bench = Bench::default();
    for _ in 0..100 {
        bench.ingest(bind(1, 0, "-l"));
        bench.ingest(EventBody::Close(Bind { call: call(1, 0, "-l"), expected: None }));
    }
    assert_eq!(bench.emitted.len(), 2);
    let summaries = bench.wait(5 * MINUTE);
    assert_eq!(summaries.iter().map(count).collect::<Vec<_>>(), [99, 99]);
    let EventBody::Summary(Summary::Calls { processes, .. }) = summaries[0].body else { panic!() };
    assert_eq!(processes, Some(1));
    assert_eq!(summaries[0].port(), Some(2948));
}

#[test]
fn emits_the_first_call_of_every_new_process_up_to_a_limit() {
    let mut bench = Bench::default();
    let emitted: Vec<u32> = (1..=20).filter(|pid| bench.ingest(bind(*pid, 0, "-l"))).collect();
    assert_eq!(emitted, [1, 2, 3, 4, 5, 6, 7, 8]);
    assert!(bench.ingest(bind(100, 0, "-k")), "another program");
    assert_eq!(bench.accounted(), 21);
}

#[test]
fn a_call_after_five_quiet_minutes_is_a_first_one() {
    let mut bench = Bench::default();
    assert!(bench.ingest(bind(1, 0, "-l")));
    bench.wait(5 * MINUTE - 1);
    assert!(!bench.ingest(bind(1, 0, "-l")));
    bench.wait(5 * MINUTE);
    assert!(bench.ingest(bind(1, 0, "-l")));
    assert_eq!(bench.accounted(), 3);
}

#[test]
fn one_user_takes_no_room_from_another() {
    let mut bench = Bench::default();
    for number in 0..3_000 {
        bench.ingest(bind(number, 1000, &number.to_string()));
    }
    assert!(bench.emitted.len() < 150, "{} events of a flood", bench.emitted.len());
    for pid in 5_000..5_008 {
        assert!(bench.ingest(bind(pid, 0, "-l")), "hidden by the flood");
    }
    assert_eq!(bench.accounted(), 3_008);
}

/// With the ids that a user may take in a user namespace, one user is many.
#[test]
fn many_users_together_emit_a_bounded_number() {
    let mut bench = Bench::default();
    for user in 1..=8 {
        for program in 0..128 {
            bench.ingest(bind(program, 1000 + user, &program.to_string()));
        }
    }
    assert_eq!(bench.emitted.len(), 1024);
    for number in 0..500 {
        bench.ingest(bind(number, 5000, &number.to_string()));
    }
    let beyond = bench.emitted.len() - 1024;
    assert!((64..=65).contains(&beyond), "{beyond} without room");
    assert!(bench.ingest(bind(1, 0, "-l")), "hidden by the flood");
    assert_eq!(bench.accounted(), 1024 + 500 + 1);
}

#[test]
fn counts_conversations_beyond_its_room() {
    let mut bench = Bench::default();
    for number in 0..10_000_u32 {
        bench.ingest(http((0x0a00_0000 + (number << 8)).to_be_bytes()));
    }
    assert_eq!(bench.emitted.len(), 4096 + 1);
    assert!(bench.ingest(identified([9, 9, 9, 9].into(), Verdict::Ssh, Direction::Ingress)));
    let summaries = bench.wait(5 * MINUTE);
    let [summary] = &*summaries else { panic!("{} summaries", summaries.len()) };
    assert_eq!((count(summary), conversations(summary).network), (10_000 - 4097, None));
    assert!(conversations(summary).peers > 500);
    // An hour later there is room again.
    bench.wait(60 * MINUTE);
    assert!(bench.ingest(http([11, 0, 0, 1])));
}

#[test]
fn other_events_are_never_summed_up() {
    let mut bench = Bench::default();
    for _ in 0..3 {
        assert!(bench.ingest(EventBody::Dormant(socket())));
        assert!(bench.ingest(EventBody::AgentStopped { reason: "SIGTERM".into() }));
    }
    assert_eq!(bench.accounted(), 6);
}
