use monitor_common::flow::{Direction, Protocol, Side};
use monitor_ledger::Wake;

use super::{active::CAPACITY, alert::Alert, *};
use crate::{
    event::{Awakened, AwakenedBy, Event, EventBody, EventName, UnexpectedOwner},
    sinks::testing,
};

const MINUTE: Duration = Duration::from_secs(60);

fn active() -> Active {
    let configured = [("instance", "web1:10948"), ("dc", "fra")];
    let configured = configured.map(|(name, value)| (name.into(), value.into())).into();
    Active::new(Labels::new(&configured, "web1"), Duration::ZERO)
}

fn raise(active: &mut Active, event: &Event, now: Instant) {
    assert!(active.raise(event, now));
}

fn alerts(active: &Active, now: Instant) -> Vec<Alert> {
    active.alerts(&active.due(now, false), Timestamp::UNIX_EPOCH)
}

/// Names of the alerts that are due, and the executables in them.
fn due(active: &Active, now: Instant) -> Vec<(String, String)> {
    let text = |map: &BTreeMap<String, String>, name| map.get(name).cloned().unwrap_or_default();
    let alerts = alerts(active, now).into_iter();
    let shown = |alert: Alert| {
        let executable = text(&alert.annotations, "process_executable_path");
        (text(&alert.labels, "alertname"), executable)
    };
    alerts.map(shown).collect()
}

fn pairs<const N: usize>(expected: [(&str, &str); N]) -> Vec<(String, String)> {
    expected.map(|(name, executable)| (name.into(), executable.into())).into()
}

/// The event, with another program.
fn by(mut event: Event, executable: &str) -> Event {
    let call = match &mut event.body {
        EventBody::UnexpectedOwner(UnexpectedOwner::Bound(call)) => call,
        EventBody::Awakened(Awakened { by: AwakenedBy::Bind(bind), .. }) => &mut bind.call,
        _ => panic!("no bind"),
    };
    let caller = call.caller.as_mut().expect("a caller");
    caller.identity.executable_path = Some(executable.into());
    event
}

fn on_port(port: u16) -> Event {
    let mut event = testing::event(EventName::Awakened);
    let EventBody::Awakened(Awakened { by: AwakenedBy::Bind(bind), .. }) = &mut event.body else {
        panic!("no bind")
    };
    bind.call.socket.local_port = Some(port);
    event
}

#[test]
fn what_is_found_out_about_an_executable_completes_the_alert() {
    let now = Instant::now();
    let mut active = active();
    raise(&mut active, &testing::event(EventName::Executable), now);
    assert!(alerts(&active, now).is_empty(), "it is no alert by itself");
    raise(&mut active, &testing::event(EventName::UnexpectedOwner), now);
    let keys = active.due(now, true);
    active.sent(&keys, now);
    raise(&mut active, &testing::event(EventName::Executable), now);
    assert_eq!(active.due(now, true), keys, "it is sent again");
    assert_eq!(active.unsent(), 0);
    let alerts = alerts(&active, now);
    let annotations = &alerts[0].annotations;
    assert_eq!(annotations["process_executable_sha256"], "ab12");
    assert_eq!(annotations["process_package"], "netcat-openbsd");
    assert_eq!(
        annotations["process_evidence"],
        "sha256 ab12, package netcat-openbsd 1.229-1, unmodified"
    );
}

#[test]
fn labels_are_those_of_the_rules() {
    let now = Instant::now();
    let mut active = active();
    raise(&mut active, &testing::event(EventName::Awakened), now);
    raise(&mut active, &by(testing::event(EventName::UnexpectedOwner), "/bin/other"), now);
    raise(&mut active, &testing::event(EventName::Captured), now);
    raise(&mut active, &testing::event(EventName::Answered), now);
    raise(&mut active, &testing::event(EventName::ListenerUnexpected), now);
    raise(&mut active, &testing::event(EventName::ListenerChanged), now);
    raise(&mut active, &testing::event(EventName::Connect), now);
    let alerts = alerts(&active, now);
    let shown: Vec<String> = alerts.iter().map(|alert| format!("{:?}", alert.labels)).collect();
    assert_eq!(
        shown,
        [
            r#"{"alertname": "GhostportBindOnDormantPort", "cause": "bind", "dc": "fra", "instance": "web1:10948", "job": "ghostport", "port": "2948", "reporter": "agent", "severity": "critical"}"#,
            r#"{"alertname": "GhostportUnexpectedOwner", "dc": "fra", "instance": "web1:10948", "job": "ghostport", "port": "2948", "protocol": "tcp", "reporter": "agent", "severity": "critical"}"#,
            r#"{"alertname": "GhostportPortCaptured", "dc": "fra", "instance": "web1:10948", "job": "ghostport", "port": "2948", "protocol": "tcp", "reporter": "agent", "severity": "critical"}"#,
            r#"{"alertname": "GhostportPortAnswered", "dc": "fra", "instance": "web1:10948", "job": "ghostport", "port": "2948", "protocol": "tcp", "reporter": "agent", "severity": "critical"}"#,
            r#"{"alertname": "GhostportNewListener", "dc": "fra", "instance": "web1:10948", "job": "ghostport", "port": "2948", "protocol": "tcp", "reporter": "agent", "severity": "warning"}"#,
            r#"{"alertname": "GhostportListenerChanged", "change": "changed", "dc": "fra", "instance": "web1:10948", "job": "ghostport", "reporter": "agent", "severity": "warning"}"#,
            r#"{"alertname": "GhostportOutboundUse", "dc": "fra", "instance": "web1:10948", "job": "ghostport", "port": "2948", "reporter": "agent", "severity": "warning"}"#,
        ]
    );
    let annotations = &alerts[0].annotations;
    assert_eq!(annotations["process_pid"], "4711");
    assert_eq!(annotations["process_executable_path"], "/usr/bin/nc");
    assert_eq!(annotations["process_user"], "kannel");
    assert_eq!(
        annotations["summary"],
        "Dormant port 2948/tcp (wap-push) of web1, dormant for 1m30s, was bound"
    );
    assert!(!annotations.contains_key("container_id"), "it is not known");
    assert_eq!(annotations["host_name"], "web1");
    assert_eq!(annotations["service"], "wap-push");
    assert_eq!(annotations["systemd_unit"], "kannel.service");
    assert_eq!(annotations["certainty"], "Certain: the kernel's call was observed by fexit.");
    assert_eq!(annotations["runbook_url"], "http://web1:10948/runbook/GhostportBindOnDormantPort");
    assert!(annotations["commands"].starts_with("ghostport check 2948; "), "{annotations:?}");
    let captured = &alerts[2].annotations;
    assert_eq!(captured["capture_filter"], "only port 2948/tcp");
    assert_eq!(captured["process_pid"], "4711");
    let answered = &alerts[3].annotations;
    assert_eq!(answered["path"], "redirect");
    assert_eq!(answered["path_target"], "127.0.0.1:8080");
    assert_eq!(
        answered["summary"],
        "Something answers on port 2948/tcp (wap-push) of web1, and no socket holds it"
    );
    let new = &alerts[4].annotations;
    assert_eq!(new["process_pid"], "4711");
    assert!(new["summary"].starts_with("An unexpected program listens on port 2948"), "{new:?}");
    assert_eq!(alerts[5].annotations["changes"], "executable /usr/bin/ncat → /usr/bin/nc");
    assert_eq!(alerts[6].annotations["network_peer_address"], "192.0.2.7");
    assert_eq!(alerts[6].annotations["process_pid"], "4711");
    let json = serde_json::to_value(&alerts[0]).expect("JSON");
    assert_eq!(json["startsAt"], "1970-01-01T00:00:01.000000001Z");
    assert_eq!(json["endsAt"], "1970-01-01T00:10:00Z");
}

#[test]
fn links_to_the_dashboard_where_a_label_says_where_it_is() {
    let configured = [("grafana_url", "https://g.example/"), ("instance", "web1:10948")];
    let configured = configured.map(|(name, value)| (name.into(), value.into())).into();
    let mut active = Active::new(Labels::new(&configured, "web1"), Duration::ZERO);
    let now = Instant::now();
    raise(&mut active, &testing::event(EventName::Awakened), now);
    assert_eq!(
        alerts(&active, now)[0].annotations["dashboard_url"],
        "https://g.example/d/ghostport-host?var-instance=web1:10948&var-port=2948"
    );
}

#[test]
fn names_a_refused_bind() {
    let event = testing::awakened_by_refused_bind();
    let now = Instant::now();
    let mut active = active();
    raise(&mut active, &event, now);
    let annotations = &alerts(&active, now)[0].annotations;
    assert!(annotations["summary"].ends_with("was refused: in_use"), "{annotations:?}");
    assert_eq!(annotations["description"], "nc[4711] tried to bind port 2948/tcp (wap-push).");
}

#[test]
fn wants_only_events_that_raise_alerts() {
    let mut packet = testing::event(EventName::Awakened);
    let EventBody::Awakened(awakened) = &mut packet.body else { panic!("not awakened") };
    awakened.wake =
        Wake::Packet { protocol: Protocol::Tcp, direction: Direction::Ingress, side: Side::Local };
    assert!(!is_alarming(&packet));
    assert!(!is_alarming(&testing::event(EventName::Bind)));
    assert!(is_alarming(&testing::event(EventName::Executable)), "it completes an alert");
    assert!(is_alarming(&testing::event(EventName::Awakened)));
    assert!(is_alarming(&testing::event(EventName::UnexpectedOwner)));
    assert!(is_alarming(&testing::event(EventName::Answered)));
    for is_alert in [EventName::ListenerUnexpected, EventName::ListenerChanged, EventName::Connect]
    {
        assert!(is_alarming(&testing::event(is_alert)), "{is_alert:?}");
    }
    for is_none in [EventName::ListenerNew, EventName::ListenerGone] {
        assert!(!is_alarming(&testing::event(is_none)), "{is_none:?}");
    }
    let mut captured = testing::event(EventName::Captured);
    assert!(is_alarming(&captured));
    let EventBody::Captured(capture) = &mut captured.body else { panic!("not captured") };
    capture.is_targeted = false;
    assert!(!is_alarming(&captured), "a capture of everything");
}

#[test]
fn one_bind_is_one_alert() {
    let now = Instant::now();
    let both = [(EventName::UnexpectedOwner, EventName::Awakened)];
    for (first, second) in both.into_iter().chain(both.map(|(a, b)| (b, a))) {
        let mut active = active();
        raise(&mut active, &testing::event(first), now);
        raise(&mut active, &testing::event(second), now);
        let only = pairs([("GhostportBindOnDormantPort", "/usr/bin/nc")]);
        assert_eq!(due(&active, now), only, "{first:?} first");
        assert_eq!(active.unsent(), 2, "both are delivered with it");
    }
}

#[test]
fn an_alert_that_was_sent_takes_in_the_other_event() {
    let now = Instant::now();
    let mut active = active();
    raise(&mut active, &testing::event(EventName::UnexpectedOwner), now);
    let keys = active.due(now, false);
    active.sent(&keys, now);
    raise(&mut active, &testing::event(EventName::Awakened), now);
    assert_eq!(due(&active, now), pairs([("GhostportUnexpectedOwner", "/usr/bin/nc")]));
}

#[test]
fn another_program_is_another_alert() {
    let now = Instant::now();
    let mut active = active();
    raise(&mut active, &testing::event(EventName::Awakened), now);
    raise(&mut active, &by(testing::event(EventName::UnexpectedOwner), "/tmp/x"), now);
    let two =
        [("GhostportBindOnDormantPort", "/usr/bin/nc"), ("GhostportUnexpectedOwner", "/tmp/x")];
    assert_eq!(due(&active, now), pairs(two));
}

#[test]
fn a_bind_that_follows_a_refusal_is_another_alert() {
    let now = Instant::now();
    let mut active = active();
    raise(&mut active, &testing::awakened_by_refused_bind(), now);
    raise(&mut active, &testing::event(EventName::UnexpectedOwner), now);
    assert_eq!(due(&active, now).len(), 2);
}

#[test]
fn the_process_of_a_socket_that_was_found_open_is_kept() {
    let now = Instant::now();
    let mut active = active();
    raise(&mut active, &testing::event(EventName::UnexpectedOwner), now);
    let mut found = testing::event(EventName::Awakened);
    let EventBody::Awakened(awakened) = &mut found.body else { panic!("not awakened") };
    let AwakenedBy::Bind(bind) = &awakened.by else { panic!("no bind") };
    awakened.by = AwakenedBy::Port(bind.call.socket.clone());
    raise(&mut active, &found, now);
    let alerts = alerts(&active, now);
    assert_eq!(alerts.len(), 1);
    let annotations = &alerts[0].annotations;
    assert_eq!(annotations["process_executable_path"], "/usr/bin/nc");
    assert!(annotations["summary"].starts_with("Dormant port 2948/tcp"), "{annotations:?}");
    assert_eq!(annotations["description"], "nc[4711] bound port 2948/tcp (wap-push).");
}

#[test]
fn waits_for_other_events_of_the_same_bind() {
    let now = Instant::now();
    let mut active = Active::new(Labels::new(&BTreeMap::new(), "web1"), LINGER);
    raise(&mut active, &testing::event(EventName::UnexpectedOwner), now);
    assert_eq!(active.next_due(), Some(now + LINGER));
    assert!(active.due(now, false).is_empty());
    assert_eq!(active.due(now, true).len(), 1, "there is no later");
}

#[test]
fn repeats_an_alert_until_its_port_is_free() {
    let start = Instant::now();
    let mut active = active();
    raise(&mut active, &on_port(1), start);
    let keys = active.due(start, false);
    assert_eq!((keys.len(), active.unsent()), (1, 1));
    assert_eq!(active.sent(&keys, start), 1);
    assert_eq!(active.unsent(), 0);
    assert!(active.due(start + MINUTE / 2, false).is_empty());
    assert_eq!(active.due(start + MINUTE, false), keys, "long before it would end by itself");

    // The port is free for a moment, then it is used again.
    active.end_free(|_| false, start + 4 * MINUTE);
    active.end_free(|_| true, start + 11 * MINUTE);
    active.end_free(|_| false, start + 12 * MINUTE);
    active.sent(&keys, start + 19 * MINUTE);
    active.end_free(|_| false, start + 19 * MINUTE);
    assert!(active.due(start + 19 * MINUTE, false).is_empty(), "not free for long enough");

    active.end_free(|_| false, start + 20 * MINUTE);
    let ended = alerts(&active, start + 20 * MINUTE);
    assert!(ended[0].ends_at > Timestamp::UNIX_EPOCH + jiff::Span::new().hours(1));
    assert_eq!(ended[0].annotations["process_pid"], "4711", "the end has the process");
    active.sent(&keys, start + 20 * MINUTE);
    assert_eq!(active.next_due(), None, "it is over");
}

#[test]
fn sends_an_alert_that_is_raised_again_at_once() {
    let start = Instant::now();
    let mut active = active();
    raise(&mut active, &on_port(1), start);
    let keys = active.due(start, false);
    active.sent(&keys, start);
    active.end_free(|_| false, start);
    active.end_free(|_| false, start + 8 * MINUTE);
    raise(&mut active, &on_port(1), start + 8 * MINUTE);
    let again = alerts(&active, start + 8 * MINUTE);
    assert_eq!(again.len(), 1);
    assert!(again[0].ends_at < Timestamp::UNIX_EPOCH + jiff::Span::new().hours(1), "not ended");
}

#[test]
fn continues_the_alerts_of_an_earlier_agent() {
    let now = Instant::now();
    let mut earlier = active();
    raise(&mut earlier, &testing::event(EventName::Awakened), now);
    let known = alerts(&earlier, now);
    let mut of_other_host = known[0].clone();
    of_other_host.labels.insert("instance".into(), "web2:10948".into());

    let mut active = active();
    active.adopt(known[0].clone(), now);
    active.adopt(of_other_host, now);
    assert_eq!(alerts(&active, now), known);
    assert_eq!(active.unsent(), 0);
    // The new agent finds the socket that the earlier one reported.
    raise(&mut active, &testing::event(EventName::UnexpectedOwner), now);
    assert_eq!(due(&active, now), pairs([("GhostportBindOnDormantPort", "/usr/bin/nc")]));
    active.end_free(|_| false, now);
    active.end_free(|_| false, now + 8 * MINUTE);
    let ended = alerts(&active, now + 8 * MINUTE);
    assert!(ended[0].ends_at > Timestamp::UNIX_EPOCH + jiff::Span::new().hours(1));
}

#[test]
fn limits_the_active_alerts() {
    let now = Instant::now();
    let mut active = active();
    for port in 1..=CAPACITY as u16 {
        raise(&mut active, &on_port(port), now);
    }
    assert!(!active.raise(&on_port(60_000), now));
    raise(&mut active, &on_port(1), now);
    assert_eq!(active.unsent(), CAPACITY as u64 + 1);
}

#[test]
fn gives_up_sending_the_end_of_an_alert() {
    let start = Instant::now();
    let mut active = active();
    raise(&mut active, &on_port(1), start);
    active.end_free(|_| false, start);
    active.end_free(|_| false, start + 8 * MINUTE);
    assert_eq!(active.give_up(start + 17 * MINUTE), 0);
    assert_eq!(active.give_up(start + 18 * MINUTE), 1);
    assert_eq!(active.unsent(), 0);
}

#[test]
fn an_alert_of_a_listener_lasts_while_it_listens() {
    let begin = Instant::now();
    let mut active = active();
    raise(&mut active, &testing::event(EventName::ListenerUnexpected), begin);
    raise(&mut active, &testing::event(EventName::ListenerChanged), begin);
    let listens = |usage| usage == Usage::Listening(Some(2948));
    active.end_free(listens, begin);
    active.end_free(listens, begin + 60 * MINUTE);
    let ends_of = |active: &Active, at| -> Vec<(String, bool)> {
        let is_over = |alert: &Alert| alert.ends_at <= Timestamp::now();
        let alerts = active.alerts(&active.due(at, false), Timestamp::now());
        alerts.iter().map(|alert| (alert.labels["alertname"].clone(), is_over(alert))).collect()
    };
    let changed = ("GhostportListenerChanged".to_owned(), true);
    let new = |is_over| ("GhostportNewListener".to_owned(), is_over);
    let mut after = ends_of(&active, begin + 60 * MINUTE);
    after.sort_unstable();
    assert_eq!(after, [changed.clone(), new(false)], "a change is over by itself");
    active.end_free(|_| false, begin + 61 * MINUTE);
    active.end_free(|_| false, begin + 70 * MINUTE);
    let mut after = ends_of(&active, begin + 70 * MINUTE);
    after.sort_unstable();
    assert_eq!(after, [changed, new(true)]);
}
