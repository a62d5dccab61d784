//! An hour of a host's life, in which nearly everything happens that dashboards show, and what they
//! make of it.

use std::{fs, net::TcpListener};

use testkit::{
    agent::{Agent, Config, finish, ghostport},
    eventually,
    happenings::{
        ELSEWHERE, Served, answer_by_redirection, bind_in_passing, probe, send_fragments,
        talk_elsewhere,
    },
    panels::{Question, answered, questions},
    recording::{Host, Recording},
    world::{Peer, World, in_world, port},
};

use super::support::{LISTENERS, TARGET, strange_listener};

/// A target that does not answer.
const ABSENT: &str = "127.0.0.1:9";
const DASHBOARDS: [&str; 2] = ["overview", "host"];
/// `$__rate_interval`: Grafana takes four scrapes.
const FOUR_SCRAPES: &str = "1m";

/// What stays at zero in this hour. A panel still draws it, but zeros alone do
/// not show whether it draws the right series.
const STAYS_AT_ZERO: &[(&str, &str)] = &[
    ("ghostport_kernel_errors_total", "no test can make the kernel side run out of something"),
    ("ghostport_holder_differences_total", "the kernel and /proc tell the same holders"),
];

/// Tables of what is 0, which has a row.
const TABLES_OF_ZEROS: [&str; 2] = ["Who is absent", "Hooks missing"];

/// A host in this hour.
struct Living<'world> {
    world: &'world World,
    peer: Peer,
    config: Config,
    agent: Option<Agent>,
    served: Option<Served>,
    stranger: Option<TcpListener>,
}

impl<'world> Living<'world> {
    fn new(world: &'world World, config: Config) -> Self {
        let peer = world.peer();
        let agent = Some(Agent::start(world, &config));
        Self { world, peer, config, agent, served: None, stranger: None }
    }

    /// What happens at the beginning of a minute.
    fn live(&mut self, minute: u64) {
        match minute {
            5 => probe(&self.peer),
            8 => send_fragments(&self.peer),
            10 => bind_in_passing(),
            12 => self.stranger = self.agent.as_ref().map(strange_listener),
            15 => self.served = Some(Served::start()),
            // The series begins with the first of them.
            30 | 35 => self.answer(),
            42 => assert!(finish(ghostport().arg("selftest")).status.success()),
            45 => self.agent.take().expect("an agent").kill9(),
            48 => self.agent = Some(Agent::start(self.world, &self.config)),
            // The series begins with the first of them, and a rate needs the next.
            52..55 => talk_elsewhere(),
            _ => {}
        }
        if let Some(served) = &self.served {
            served.visit(&self.peer);
        }
    }
}

impl Living<'_> {
    /// A port is answered without a socket, and the agent has counted that.
    fn answer(&self) {
        let agent = self.agent.as_ref().expect("an agent");
        let counted = || agent.metrics().sum("ghostport_answers_without_socket_total", &[]);
        let before = counted();
        answer_by_redirection(&self.peer);
        eventually("a counted answer", || (counted() > before).then_some(()));
    }
}

/// The last one has a name, which the others lack.
fn config() -> Config {
    Config::new([port(0), port(1), port(2), ELSEWHERE]).on(&["lo", "gp0"]).listeners(LISTENERS)
}

/// What is wrong with a host that panels are about. Only a veth has native XDP here, so `lo` lacks a
/// hook; `eth7` is nowhere; and a disk that is always full loses events.
fn ailing() -> Config {
    let full = "{kind: file, path: /dev/full}".to_owned();
    config().on(&["lo", "gp0", "eth7"]).mode("xdp-native").with_sinks([full])
}

fn record(world: &World, config: Config, targets: &[&str]) -> Recording {
    let mut host = Living::new(world, config);
    Recording::of(targets, |minute| host.live(minute))
}

#[test]
fn every_panel_shows_data() {
    in_world(|world| {
        let recording = record(world, ailing(), &[TARGET, ABSENT]);
        let span = recording.span;
        let prometheus = recording.play(world);
        let mut wrong = Vec::new();
        for name in DASHBOARDS {
            for question in questions(name, FOUR_SCRAPES) {
                let numbers = question.numbers(&prometheus, &span);
                let flat = numbers.iter().all(|number| *number == 0.0);
                if numbers.is_empty() || (flat && !may_be_flat(&question)) {
                    let what = if numbers.is_empty() { "no data" } else { "nothing but zero" };
                    wrong.push(format!(
                        "{name}: {}: {what}: {}",
                        question.title, question.expression
                    ));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

/// Whether zero is all that there may be. A table of what is 0 has rows, each of which says 0.
fn may_be_flat(question: &Question) -> bool {
    TABLES_OF_ZEROS.contains(&question.title.as_str())
        || STAYS_AT_ZERO.iter().any(|(metric, _)| question.expression.contains(metric))
}

/// Hosts of the pictures: the same hour, which begins later on each and is about other ports.
fn hosts() -> Vec<Host> {
    let host = |name, minutes: i64, ports: [u16; 4]| Host {
        name,
        later: minutes * 60,
        ports: [port(0), port(1), port(2), port(99)].into_iter().zip(ports).collect(),
    };
    vec![
        host("gateway-1:10948", 0, [2949, 2923, 3716, 3717]),
        host("gateway-2:10948", 20, [3716, 3717, 2949, 2923]),
        host("mail-1:10948", 35, [2923, 2949, 3717, 3716]),
        host("web-1:10948", 47, [3717, 2949, 2923, 3716]),
        host("web-2:10948", 60, [2949, 2923, 3716, 3717]),
    ]
}

/// Writes what the panels have to show to where `dashboards/pictures/draw` finds it.
#[test]
#[ignore = "for the pictures: dashboards/pictures/draw"]
fn records_answers_for_pictures() {
    in_world(|world| {
        let named = [2923, 2949, 3716, 3717];
        let watched = [port(0), port(1), port(2), ELSEWHERE].into_iter().chain(named);
        let config = Config::new(watched).on(&["lo", "gp0"]).listeners(LISTENERS);
        let mut host = Living::new(world, config);
        let recording = Recording::of(&[TARGET], |minute| host.live(minute));
        let recording = recording.as_hosts(&hosts());
        let span = recording.span;
        let prometheus = recording.play(world);
        for (name, hosts) in [("overview", ".*"), ("host", "gateway-1:10948")] {
            let text = answered(name, hosts, &prometheus, &span, FOUR_SCRAPES).to_string();
            fs::write(format!("{}/{name}.json", env!("CARGO_TARGET_TMPDIR")), text)
                .expect("written");
        }
    });
}
