//! An agent, and the calls that it must have counted and reported.

use std::{
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use monitor_common::call_share::OF_PROCESS;
use serde_json::Value;
use testkit::{
    agent::{Agent, Config, expect_sockets},
    calls::{Call, compared, difference, privileged},
    metrics::{Counts, since},
    world::{World, port},
};

/// Offsets of the ports that port 0 may land on.
pub(super) const AUTOMATIC: std::ops::Range<u16> = 60..80;

/// An agent, and the events that it has sent so far.
pub(super) struct Bench {
    pub(super) agent: Agent,
    pub(super) ports: Vec<u16>,
    pub(super) counted: Counts,
    pub(super) told: usize,
    pub(super) sees_every_close: bool,
    pub(super) start: Instant,
}

impl Bench {
    pub(super) fn start(world: &World, mechanism: &'static str) -> Self {
        Self::try_start(world, mechanism).unwrap_or_else(|refusal| panic!("{refusal}"))
    }

    /// Starts an agent with a mechanism that this kernel may lack. Then it says why.
    pub(super) fn try_start(world: &World, mechanism: &'static str) -> Result<Self, String> {
        let ports: Vec<u16> = (0..90).map(port).chain([privileged()]).collect();
        let config = Config::new(ports.clone()).mechanism(mechanism);
        let start = Instant::now();
        let agent = Agent::start(world, &config);
        let metrics = agent.metrics();
        let Some(bind) = metrics.mechanism("bind", None) else {
            return Err(refusal(&agent));
        };
        if mechanism != "auto" {
            assert_eq!(bind, mechanism);
        }
        let sees_every_close = metrics.mechanism("close", None).is_some_and(|m| m != "tracepoint");
        Ok(Self { agent, ports, counted: Counts::new(), told: 0, sees_every_close, start })
    }

    pub(super) fn bind_mechanism(&self) -> String {
        self.agent.metrics().mechanism("bind", None).expect("a mechanism for binds")
    }

    /// Checks that exactly these calls were counted and reported, in this order.
    #[track_caller]
    pub(super) fn saw(&mut self, what: &str, calls: &[Call]) {
        let calls: Vec<&Call> = calls
            .iter()
            .filter(|call| call.what != "close" || call.listened || self.sees_every_close)
            .collect();
        let events = self.agent.socket_events();
        let told: Vec<Value> = events[self.told..].iter().map(compared).collect();
        let expected: Vec<Value> = calls.iter().map(|call| call.event()).collect();
        assert!(told == expected, "{what}:\n{}", difference(&told, &expected));
        for event in &events[self.told..] {
            assert_recent(event);
        }
        self.told = events.len();

        let mut expected = Counts::new();
        for call in calls {
            expect_sockets(&mut expected, call.port, call.what, call.transport, 1);
        }
        let now = self.agent.metrics().sockets(&self.ports);
        assert_eq!(since(&self.counted, &now), expected, "{what}: counters");
        self.counted = now;
        self.rest();
    }

    /// Waits until half of this process's share of the ring is there again, on however fast a machine:
    /// calls beyond it would be in a sum.
    fn rest(&self) {
        let records = self.agent.events().len() as u64;
        let used = records.saturating_sub(OF_PROCESS.burst / 2);
        let earned_after = Duration::from_nanos(used * OF_PROCESS.interval_ns);
        thread::sleep(earned_after.saturating_sub(self.start.elapsed()));
    }
}

/// The reason that the agent gives for not attaching to binds.
pub(super) fn refusal(agent: &Agent) -> String {
    agent.hook_at_start("bind", None)["reason"].as_str().expect("a reason").to_owned()
}

/// The time is RFC 3339 with nanoseconds, and this minute.
pub(super) fn assert_recent(event: &Value) {
    let time = event["time"].as_str().expect("a time");
    assert_eq!((time.len(), &time[19..20], &time[29..]), (30, ".", "Z"), "{time}");
    let seconds: u64 = time[17..19].parse().expect(time);
    let minutes: u64 = time[14..16].parse().expect(time);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs();
    let age = (now % 3600 + 3600 - (minutes * 60 + seconds)) % 3600;
    assert!(age < 60, "{time} is {age} s ago");
}
