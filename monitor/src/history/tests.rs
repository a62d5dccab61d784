use monitor_common::{
    flow::{Direction, PortCounters, Protocol, Side, Traffic},
    socket_event::{BindResult, SocketCounters},
};
use monitor_kernel::{
    snapshot::{PortSockets, PortTraffic, Snapshot},
    topology::Role,
};
use monitor_ledger::{ClockReading, PortState};

use super::{Hours, hours::MAX_PORTS};
use crate::api::history::History;

const PORT: u16 = 2948;

/// Counters as a kernel has them, and the clock.
#[derive(Default)]
struct Bench {
    hours: Hours,
    second: u64,
    /// Packets by direction, on an edge and on an inner interface alike.
    packets: [u64; 2],
    binds: [u64; BindResult::COUNT],
    state: PortState,
}

impl Bench {
    fn reading(&self, ports: &[u16]) -> Snapshot {
        let mut counters = PortCounters::default();
        for direction in Direction::ALL {
            counters.traffic[Protocol::Udp as usize][direction as usize][Side::Local as usize] =
                Traffic { packets: self.packets[direction as usize], bytes: 0 };
        }
        let traffic = |(index, role): (u32, Role)| PortTraffic {
            interface_index: index,
            interface: index.to_string(),
            role,
            port: PORT,
            counters,
        };
        let sockets = |port: &u16| PortSockets {
            port: *port,
            counters: SocketCounters {
                binds: [self.binds, [0; BindResult::COUNT]],
                ..SocketCounters::default()
            },
        };
        Snapshot {
            traffic: [(2, Role::Edge), (3, Role::Inner)].map(traffic).into(),
            sockets: ports.iter().map(sockets).collect(),
            ..Snapshot::default()
        }
    }

    fn read_after(&mut self, seconds: u64) {
        self.second += seconds;
        let at = ClockReading {
            wall: jiff::Timestamp::from_second(1_000_000 + self.second as i64).expect("a time"),
            boottime_ns: self.second * 1_000_000_000 + 500_000_000,
        };
        let (reading, state) = (self.reading(&[PORT]), self.state);
        self.hours.record(at, &reading, |_| Some(state));
    }

    fn history(&self) -> History {
        self.hours.of_port(PORT, self.state)
    }
}

fn packets_in(history: &History) -> Vec<u32> {
    history.series.iter().flat_map(|series| series.packets_in.clone()).collect()
}

#[test]
fn counts_of_before_the_first_reading_are_left_out() {
    let mut bench = Bench { packets: [1000, 500], ..Bench::default() };
    bench.read_after(1);
    bench.packets = [1007, 502];
    bench.binds[BindResult::InUse as usize] = 3;
    bench.read_after(1);
    let history = bench.history();
    let [seconds] = &history.series[..] else { panic!("{history:?}") };
    assert_eq!((seconds.step_seconds, &seconds.packets_in[..]), (1, &[0, 7][..]));
    assert_eq!(seconds.packets_out, [0, 2], "edge interfaces alone");
    assert_eq!((&seconds.binds[..], &seconds.binds_refused[..]), (&[][..], &[0, 3][..]));
    assert_eq!(history.until.as_millisecond(), 1_000_002_500);
    assert_eq!(seconds.since.as_millisecond(), 1_000_000_500);
}

#[test]
fn an_hour_is_kept_by_the_second_and_then_by_ten() {
    let mut bench = Bench::default();
    bench.read_after(1);
    for _ in 0..4000 {
        bench.packets[0] += 1;
        bench.read_after(1);
    }
    let history = bench.history();
    let [steps, seconds] = &history.series[..] else { panic!("{history:?}") };
    assert_eq!((steps.step_seconds, steps.packets_in.len()), (10, 330));
    assert!(steps.packets_in.iter().all(|count| *count == 10));
    assert!((300..310).contains(&seconds.packets_in.len()));
    assert!(seconds.packets_in.iter().all(|count| *count == 1));
    assert_eq!(seconds.since.duration_since(steps.since).as_secs(), 3300);
    let length = history.until.duration_since(seconds.since).as_secs();
    assert_eq!(length, seconds.packets_in.len() as i64);
}

#[test]
fn nothing_is_lost_when_seconds_are_joined_or_readings_are_late() {
    let mut bench = Bench::default();
    bench.read_after(1);
    for second in 0..700_u64 {
        bench.packets[0] += second * 7 % 13;
        // Two readings in one second, and none in others.
        bench.read_after(second * 3 % 4);
    }
    let sum: u64 = packets_in(&bench.history()).into_iter().map(u64::from).sum();
    assert_eq!(sum, bench.packets[0]);
}

#[test]
fn states_are_kept_with_their_beginnings() {
    let mut bench = Bench::default();
    bench.read_after(1);
    for (state, seconds) in [(PortState::Quiet, 20), (PortState::Served, 3), (PortState::Bound, 9)]
    {
        bench.state = state;
        (0..seconds).for_each(|_| bench.read_after(1));
    }
    let begins = |history: &History| -> Vec<(PortState, i64)> {
        let until = history.until;
        let ago = |since| until.duration_since(since).as_secs();
        history.states.iter().map(|state| (state.state, ago(state.since))).collect()
    };
    let expected = [(PortState::Quiet, 33), (PortState::Served, 12), (PortState::Bound, 9)];
    assert_eq!(begins(&bench.history()), expected);
    // In steps of ten seconds the highest state counts.
    (0..320).for_each(|_| bench.read_after(1));
    let states: Vec<PortState> =
        begins(&bench.history()).into_iter().map(|(state, _)| state).collect();
    assert_eq!(states, [PortState::Quiet, PortState::Served, PortState::Bound]);
}

#[test]
fn a_port_of_many_has_an_hour_from_its_first_packet_on() {
    let mut bench = Bench::default();
    let many: Vec<u16> = (PORT..PORT + 1000).collect();
    let record = |bench: &mut Bench| {
        bench.second += 1;
        let at = ClockReading {
            wall: jiff::Timestamp::from_second(bench.second as i64).expect("a time"),
            boottime_ns: bench.second * 1_000_000_000,
        };
        let reading = bench.reading(&many);
        bench.hours.record(at, &reading, |_| Some(PortState::Quiet));
    };
    (0..5).for_each(|_| record(&mut bench));
    bench.packets[0] = 1;
    record(&mut bench);
    assert_eq!(packets_in(&bench.history()), [0, 0, 0, 0, 0, 1]);
    assert_eq!(packets_in(&bench.hours.of_port(PORT + 1, PortState::Quiet)), [0; 6]);
    // A bind on each of them: one of many makes room for another.
    bench.binds[BindResult::Success as usize] = 1;
    record(&mut bench);
    let kept =
        many.iter().filter(|port| !bench.hours.of_port(**port, PortState::Quiet).series.is_empty());
    assert_eq!(kept.count(), MAX_PORTS);
}

#[test]
fn a_port_that_is_watched_again_does_not_count_what_came_before() {
    let mut bench = Bench::default();
    bench.read_after(1);
    let at = ClockReading { wall: jiff::Timestamp::UNIX_EPOCH, boottime_ns: 2_000_000_000 };
    let other = Snapshot { traffic: vec![], ..bench.reading(&[7]) };
    bench.hours.record(at, &other, |_| None);
    bench.second = 2;
    bench.packets = [900, 900];
    bench.read_after(1);
    assert_eq!(packets_in(&bench.history()).into_iter().max(), Some(0));
}

#[test]
fn five_busy_ports_take_less_than_50_kilobytes_of_answers() {
    let mut bench = Bench::default();
    bench.read_after(1);
    for second in 0..3700 {
        bench.packets[0] += 90_000 + second % 10_000;
        bench.packets[1] += 80_000 + second % 9_000;
        bench.read_after(1);
    }
    let json = serde_json::to_string(&bench.history()).expect("JSON");
    assert!(5 * json.len() < 50_000, "{} bytes", json.len());
    assert_eq!(serde_json::from_str::<History>(&json).expect("read back"), bench.history());
}
