use jiff::Timestamp;
use monitor_common::flow::Side;
use monitor_ledger::PortState;
use serde_json::json;

use std::sync::Arc;

use super::{
    report::{Outcome, Report},
    *,
};
use crate::{
    api::{
        self,
        port::{ByProtocol, VerdictCount},
    },
    process::Identity,
    sockets::{
        CapturedPort, HiddenProcesses, ScanResult, Scope, Socket, TcpState, Unseen, packet_socket,
        udp_socket,
    },
};

fn report(sockets: Vec<Socket>, unseen: Unseen) -> Report {
    let agent = Port {
        state: Some(PortState::Bound),
        dormant: Some(false),
        dormant_after_seconds: Some(60),
        last_packet: Some(Timestamp::UNIX_EPOCH),
        last_bind: Some(Timestamp::UNIX_EPOCH),
        bound_sockets: Some(ByProtocol::default()),
        verdicts: vec![VerdictCount {
            verdict: "http".to_owned(),
            transport: Protocol::Tcp,
            grade: "confirmed".to_owned(),
            reason: "a method".to_owned(),
            count: 3,
            last_seen: Timestamp::UNIX_EPOCH,
            last_peer: ([127, 0, 0, 1], 9).into(),
        }],
        ..Port::default()
    };
    let look = ScanResult { sockets, namespaces: 1, unseen, ..ScanResult::default() };
    Report::new(&[2947, 2948], look, Beside::default(), BTreeMap::from([(2948, agent)]))
}

#[test]
fn is_quiet_only_if_everything_was_seen() {
    let nothing = Unseen::default();
    assert_eq!(report(vec![], nothing).outcome(), Outcome::Quiet);
    let hidden = |hidden| Unseen { hidden: Some(hidden), ..nothing };
    for unseen in [
        Unseen { namespaces: 1, ..nothing },
        Unseen { processes: 1, ..nothing },
        hidden(HiddenProcesses::MountOption),
        hidden(HiddenProcesses::PidNamespace),
    ] {
        assert_eq!(report(vec![], unseen).outcome(), Outcome::Unsure);
        assert_eq!(report(vec![udp_socket(2948)], unseen).outcome(), Outcome::Found);
        assert_eq!(report(vec![], unseen).warnings().count(), 1);
    }
    let holders = Unseen { holders: 1, ..nothing };
    assert_eq!(report(vec![], holders).outcome(), Outcome::Quiet);
}

#[test]
fn a_quiet_port_is_not_called_free_where_not_everything_is_visible() {
    let hidden = Some(HiddenProcesses::MountOption);
    let report = report(vec![], Unseen { hidden, ..Unseen::default() });
    let page = text::page(&report, Paper::PLAIN);
    assert!(page.contains("2947 gpsd: nothing that is visible to you holds it"), "{page}");
    let document = serde_json::to_value(&report).expect("a document");
    let reasons = document["not_visible"].as_array().expect("reasons");
    assert!(reasons[0].as_str().is_some_and(|reason| reason.contains("hidepid")), "{document}");
}

#[test]
fn a_socket_without_a_visible_holder_is_not_judged() {
    let hidden = Socket { holders_unknown: true, ..udp_socket(2948) };
    let unseen = Unseen { holders: 7, ..Unseen::default() };
    assert_eq!(report(vec![hidden.clone()], unseen).outcome(), Outcome::Unsure);
    // What has no holder, and nothing hidden either, is there for certain.
    let both = vec![hidden, Socket { port: 2947, ..udp_socket(2947) }];
    assert_eq!(report(both, unseen).outcome(), Outcome::Found);
}

#[test]
fn what_a_hidden_holder_leaves_over_says_no_more_than_its_socket() {
    let hidden = Socket { holders_unknown: true, expected: Some(false), ..udp_socket(2948) };
    let left_over = connection(TcpState::TimeWait);
    let unseen = Unseen { hidden: Some(HiddenProcesses::MountOption), ..Unseen::default() };
    let both = report(vec![hidden.clone(), left_over.clone()], unseen);
    assert_eq!(both.outcome(), Outcome::Unsure);
    let document = serde_json::to_value(&both).expect("a document");
    let sockets = document["ports"][1]["sockets"].as_array().expect("sockets");
    let hidden_row = sockets.iter().find(|socket| socket.get("holders").is_none());
    assert_eq!(hidden_row.expect("a row").get("expected"), None, "{document:#}");
    assert_eq!(report(vec![left_over.clone()], unseen).outcome(), Outcome::Unsure);
    let holders = Unseen { holders: 7, ..Unseen::default() };
    assert_eq!(report(vec![hidden, left_over.clone()], holders).outcome(), Outcome::Unsure);
    // Where everything is seen, it is there.
    assert_eq!(report(vec![left_over], Unseen::default()).outcome(), Outcome::Found);
}

/// A connection to port 2948 of this host that has no holder.
fn connection(state: TcpState) -> Socket {
    let udp = udp_socket(2948);
    let peer = Some(([192, 0, 2, 9], 40_000).into());
    let entry =
        sockets::Entry { protocol: Protocol::Tcp, peer, tcp_state: Some(state), ..udp.entry };
    Socket { entry, ..udp }
}

#[test]
fn a_client_that_has_the_port_by_chance_is_listed_and_does_not_count() {
    let accepted = connection(TcpState::Established);
    let (local, peer) = (([10, 0, 0, 1], 8443).into(), Some(([192, 0, 2, 9], 2948).into()));
    let entry = sockets::Entry { local, peer, ..accepted.entry };
    let holders = vec![Arc::new(Identity::unknown(7))];
    let talks = Socket { entry, side: Side::Remote, holders, ..accepted };
    let by_chance = Socket { is_accepted: true, ..talks.clone() };
    let report = |sockets| report(sockets, Unseen::default());
    assert_eq!(report(vec![talks.clone()]).outcome(), Outcome::Found, "who began is not known");
    assert_eq!(report(vec![by_chance.clone(), talks]).outcome(), Outcome::Found);
    let report = report(vec![by_chance]);
    let ok = "GHOSTPORT OK - 2 of 2 ports quiet|quiet=2;;;0;2 sockets=0;;;0 unexpected=0;;;0";
    assert_eq!(plugin_line(&report), (ok.to_owned(), nagios::Status::Ok));
    assert_eq!(report.outcome(), Outcome::Quiet);
    let document = serde_json::to_value(&report).expect("a document");
    assert_eq!(document["ports"][1]["sockets"][0]["began"], "peer", "{document:#}");
    let page = text::page(&report, Paper::PLAIN);
    assert!(page.contains("2948 wap-push: nothing holds it or talks on it\n"), "{page}");
    assert!(page.contains("     accepted here: the client has this port by chance\n"), "{page}");
}

#[test]
fn sockets_that_only_the_agent_knows_are_reported() {
    let agent = Port {
        state: Some(PortState::Bound),
        bound_sockets: Some(ByProtocol { tcp: 1, ..ByProtocol::default() }),
        ..Port::default()
    };
    let look = ScanResult { sockets: vec![], namespaces: 1, ..ScanResult::default() };
    let report = Report::new(&[2948], look, Beside::default(), BTreeMap::from([(2948, agent)]));
    assert_eq!(report.outcome(), Outcome::Found);
    let page = text::page(&report, Paper::PLAIN);
    assert!(page.contains("the agent knows of 1") && !page.contains("nothing holds"), "{page}");
}

/// A report of port 2948 where a look finds `found` and the agent knows of `known`.
fn report_beside_agent(found: Vec<Socket>, known: Vec<Socket>) -> Report {
    let unexpected = known.iter().filter(|socket| socket.expected != Some(true)).count() as u32;
    let bound = known.len() as u32;
    let agent = Port {
        bound_sockets: Some(ByProtocol { udp: bound, ..ByProtocol::default() }),
        unexpected_sockets: Some(ByProtocol { udp: unexpected, ..ByProtocol::default() }),
        ..Port::with_sockets(2948, api::socket::Socket::list(&known))
    };
    let look = ScanResult { sockets: found, namespaces: 1, ..ScanResult::default() };
    Report::new(&[2948], look, Beside::default(), BTreeMap::from([(2948, agent)]))
}

#[test]
fn counts_expected_owners_for_nothing_and_says_so() {
    let of = |expected| Socket { expected, ..udp_socket(2948) };
    let expected = report(vec![of(Some(true))], Unseen::default());
    assert_eq!(expected.outcome(), Outcome::Quiet);
    let page = text::page(&expected, Paper::PLAIN);
    assert!(page.contains("2948 wap-push: 1 socket, expected\n"), "{page}");
    assert!(page.contains("     expected owner\n"), "{page}");
    let document = serde_json::to_value(&expected).expect("a document");
    assert_eq!(document["ports"][1]["sockets"][0]["expected"], true, "{document}");

    for other in [Some(false), None] {
        let both = report(vec![of(Some(true)), of(other)], Unseen::default());
        assert_eq!(both.outcome(), Outcome::Found);
        let page = text::page(&both, Paper::PLAIN);
        assert!(page.contains("2948 wap-push: 2 sockets\n"), "{page}");
        assert_eq!(page.matches("expected owner").count(), 1, "{page}");
    }
    let unseen = Unseen { namespaces: 1, ..Unseen::default() };
    assert_eq!(report(vec![of(Some(true))], unseen).outcome(), Outcome::Unsure);
}

#[test]
fn believes_the_agent_about_owners_that_it_expects() {
    let of = |expected, pid| Socket {
        expected,
        holders: vec![Arc::new(Identity::unknown(pid))],
        ..udp_socket(2948)
    };
    let outcome = |found: Vec<Socket>, known| report_beside_agent(found, known).outcome();
    assert_eq!(outcome(vec![of(Some(false), 7)], vec![of(Some(true), 7)]), Outcome::Quiet);
    assert_eq!(outcome(vec![of(Some(false), 8)], vec![of(Some(true), 7)]), Outcome::Found);
    assert_eq!(outcome(vec![of(Some(true), 7)], vec![of(Some(false), 7)]), Outcome::Quiet);
    let hidden = Socket { holders_unknown: true, ..udp_socket(2948) };
    assert_eq!(outcome(vec![hidden], vec![of(Some(true), 7)]), Outcome::Quiet);
    assert_eq!(outcome(vec![], vec![of(Some(true), 7)]), Outcome::Quiet);
    assert_eq!(outcome(vec![], vec![of(Some(false), 7)]), Outcome::Found);
}

#[test]
fn long_addresses_leave_room_for_the_namespace() {
    let address = ([0xfe80, 0, 0, 1, 0x1234, 0x5678, 0x9abc, 0xdef0], 2948).into();
    let mut socket = udp_socket(2948);
    (socket.entry.local, socket.netns_inode) = (address, Some(4_026_531_840));
    let look = ScanResult { sockets: vec![socket], namespaces: 2, ..ScanResult::default() };
    let page =
        text::page(&Report::new(&[2948], look, Beside::default(), BTreeMap::new()), Paper::PLAIN);
    assert!(page.contains("netns 4026531840"), "{page}");
    assert!(page.lines().all(|line| line.chars().count() <= 80), "{page}");
}

#[test]
fn a_socket_that_looks_for_a_port_is_reported_and_a_capture_of_all_is_not() {
    let udp = CapturedPort { port: 2948, protocol: Protocol::Udp };
    let look = |scope| ScanResult {
        captures: vec![packet_socket(scope)],
        namespaces: 2,
        ..ScanResult::default()
    };
    let report = Report::new(
        &[2947, 2948],
        look(Scope::OnlyWatched(vec![udp])),
        Beside::default(),
        BTreeMap::new(),
    );
    assert_eq!(report.outcome(), Outcome::Found);
    let page = text::page(&report, Paper::PLAIN);
    let heading = "2948 wap-push: nothing holds it, and its packets are captured\n";
    assert!(page.starts_with(heading), "{page}");
    assert!(page.contains("  packet socket: only port 2948/udp"), "{page}");
    assert!(page.contains("2947 gpsd: nothing holds it or talks on it"), "{page}");

    let report =
        Report::new(&[2947, 2948], look(Scope::Everything), Beside::default(), BTreeMap::new());
    assert_eq!(report.outcome(), Outcome::Quiet);
    let page = text::page(&report, Paper::PLAIN);
    assert_eq!(page.matches("packet socket: everything").count(), 1, "{page}");
    assert!(page.lines().all(|line| line.chars().count() <= 80), "{page}");
    let document = serde_json::to_value(&report).expect("a document");
    assert_eq!(document["ports"][1]["captures"][0]["filter"], "everything", "{document}");
}

fn waiting(peer: [u8; 4], peer_port: u16) -> Socket {
    let mut socket = udp_socket(2948);
    socket.entry.peer = Some((peer, peer_port).into());
    socket.entry.tcp_state = Some(TcpState::TimeWait);
    socket
}

#[test]
fn connections_that_no_process_holds_take_few_lines() {
    let of_one_peer = (1..=2_368).map(|port| waiting([192, 0, 2, 1], port));
    let of_many_peers = (1..=20).map(|peer| waiting([198, 51, 100, peer], 1));
    let report = report(of_one_peer.chain(of_many_peers).collect(), Unseen::default());
    let page = text::page(&report, Paper::PLAIN);
    assert!(page.contains("2948 wap-push: 2388 sockets\n"), "{page}");
    assert!(page.contains("→ 192.0.2.1, 2368 times\n"), "{page}");
    assert!(page.contains("  13 more connections that no process holds"), "{page}");
    assert!(page.lines().count() < 30, "{page}");
    let document = serde_json::to_value(&report).expect("a document");
    let rows = document["ports"][1]["sockets"].as_array().expect("rows");
    assert_eq!((rows.len(), &rows[0]["count"]), (21, &json!(2368)));
    assert_eq!(rows[1].get("count"), None);
}

#[test]
fn unknown_holders_are_not_reported_as_none() {
    let hidden = Socket { holders_unknown: true, ..udp_socket(2948) };
    let report = report(vec![hidden], Unseen { holders: 7, ..Unseen::default() });
    let document = serde_json::to_value(&report).expect("a document");
    assert_eq!(document["ports"][1]["sockets"][0].get("holders"), None, "{document}");
    let page = text::page(&report, Paper::PLAIN);
    assert!(page.contains("its holder is not visible to you"), "{page}");
    assert!(!page.contains("no process"), "{page}");
}

#[test]
fn facts_of_the_agent_are_added() {
    let document = json!({
        "schema": "ghostport.check/1",
        "ports": [
            {"port": 2947, "service": "gpsd", "sockets": []},
            {
                "port": 2948,
                "service": "wap-push",
                "state": "bound",
                "dormant": false,
                "last_packet": "1970-01-01T00:00:00Z",
                "last_bind": "1970-01-01T00:00:00Z",
                "verdicts": [{
                    "verdict": "http",
                    "transport": "tcp",
                    "grade": "confirmed",
                    "reason": "a method",
                    "count": 3,
                    "last_seen": "1970-01-01T00:00:00Z",
                    "last_peer": "127.0.0.1:9",
                }],
                "sockets": [{
                    "transport": "udp",
                    "family": "ipv4",
                    "local_address": "127.0.0.1",
                    "local_port": 2948,
                    "side": "local",
                    "holders": [],
                }],
            },
        ],
    });
    let report = report(vec![udp_socket(2948)], Unseen::default());
    assert_eq!(serde_json::to_value(&report).expect("a document"), document);
    let page = text::page(&report, Paper::PLAIN);
    let facts = "     bound, not dormant, last packet 1970-01-01T00:00:00Z,\n     \
        last bind 1970-01-01T00:00:00Z, http over tcp (3 times)\n";
    assert!(page.contains(facts), "{page}");
    assert!(!page.contains('\u{1b}') && text::page(&report, Paper::COLOURED).contains('\u{1b}'));
}

#[test]
fn names_of_others_are_escaped() {
    const HOSTILE: &str = "a\u{1b}[2J\u{202e}b\r\n";
    let holder = json!({
        "pid": 7, "name": HOSTILE, "user": HOSTILE, "systemd_unit": HOSTILE,
        "container_id": HOSTILE, "executable": HOSTILE, "command_args": [HOSTILE],
    });
    let socket = json!({
        "transport": "udp", "family": "ipv4", "local_address": "0.0.0.0", "local_port": 2948,
        "side": "local", "holders": [holder],
    });
    let mut report = report(vec![udp_socket(2948)], Unseen::default());
    for port in &mut report.ports {
        port.port.service = Some(HOSTILE.to_owned());
        port.port.sockets = vec![serde_json::from_value(socket.clone()).expect("a socket")];
    }
    let page = text::page(&report, Paper::PLAIN);
    let is_raw =
        |character: char| character.is_control() && character != '\n' || character == '\u{202e}';
    assert!(!page.contains(is_raw), "{page:?}");
    // Of name, user and unit, in one line, the last is cut.
    assert_eq!(page.matches("a\\u{1b}[2J").count(), 2 * 6, "{page}");
}

fn plugin_line(report: &Report) -> (String, nagios::Status) {
    let (line, status) = nagios::line(report);
    let line = line.strip_suffix('\n').expect("a line");
    assert!(!line.contains('\n') && line.matches('|').count() == 1, "{line}");
    (line.to_owned(), status)
}

#[test]
fn the_line_of_a_plugin_says_what_is_there() {
    let nothing = Unseen::default();
    let quiet = "GHOSTPORT OK - 2 of 2 ports quiet|quiet=2;;;0;2 sockets=0;;;0 unexpected=0;;;0";
    assert_eq!(plugin_line(&report(vec![], nothing)), (quiet.to_owned(), nagios::Status::Ok));

    let name = Some("a|b\n\u{1b}[31m".to_owned());
    let holder = Arc::new(Identity { pid: 7, name, ..Identity::default() });
    let held = Socket { holders: vec![holder], expected: Some(false), ..udp_socket(2948) };
    let expected = Socket { expected: Some(true), ..udp_socket(2947) };
    let (line, status) = plugin_line(&report(vec![held, expected], nothing));
    assert_eq!(status, nagios::Status::Critical);
    let text = "GHOSTPORT CRITICAL - 2948 (wap-push) held by a/b\\u{a}\\u{1b}[31m, pid 7, udp ";
    assert!(line.starts_with(text), "{line}");
    assert!(line.ends_with("|quiet=1;;;0;2 sockets=2;;;0 unexpected=1;;;0"), "{line}");

    let left = Socket { expected: Some(false), ..udp_socket(2948) };
    assert_eq!(plugin_line(&report(vec![left], nothing)).1, nagios::Status::Warning);
    let hidden = Socket { holders_unknown: true, ..udp_socket(2948) };
    let (line, status) = plugin_line(&report(vec![hidden], nothing));
    assert_eq!(status, nagios::Status::Unknown);
    assert!(line.contains("whose holder is not visible"), "{line}");
}

#[test]
fn a_look_that_fails_is_unknown_to_a_plugin() {
    let (line, status) = nagios::failure(&anyhow::anyhow!("no | file"));
    assert_eq!((&*line, status), ("GHOSTPORT UNKNOWN - no / file\n", nagios::Status::Unknown));
}

#[test]
fn a_way_that_is_over_is_no_alarm_to_a_plugin() {
    let seen = |over: bool| {
        let way = json!({
            "transport": "tcp", "path": "redirect", "in_use": !over, "over": over, "target": ":8080",
        });
        let mut agent = Port::default();
        agent.answered_by.push(serde_json::from_value(way).expect("a way"));
        let agent = BTreeMap::from([(2948, agent)]);
        let sockets = vec![connection(TcpState::TimeWait)];
        let look = ScanResult { sockets, namespaces: 1, ..ScanResult::default() };
        plugin_line(&Report::new(&[2948], look, Beside::default(), agent))
    };
    let (line, status) = seen(true);
    assert_eq!(status, nagios::Status::Warning, "{line}");
    assert!(line.contains("2948 (wap-push) has a socket that no process holds"), "{line}");
    let (line, status) = seen(false);
    assert_eq!(status, nagios::Status::Critical, "{line}");
    assert!(line.contains("2948 is answered by redirect"), "{line}");
}
