use monitor_common::flow::{Direction, Protocol, Side};
use monitor_ledger::Wake;

use super::{active::CAPACITY, alert::Alert, *};
use crate::{
    event::{Awakened, AwakenedBy, Event, EventBody, EventName},
    sinks::testing,
};

const MINUTE: Duration = Duration::from_secs(60);

fn labels() -> Labels {
    let configured = [("instance", "web1:10948"), ("dc", "fra")];
    Labels::new(&configured.map(|(name, value)| (name.into(), value.into())).into())
}

fn raise(active: &mut Active, event: &Event, now: Instant) {
    assert!(active.raise(event, &labels(), now));
}

fn alerts(active: &Active, now: Instant) -> Vec<Alert> {
    active.alerts(&active.due(now), Timestamp::UNIX_EPOCH)
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
fn labels_are_those_of_the_rules() {
    let now = Instant::now();
    let mut active = Active::default();
    raise(&mut active, &testing::event(EventName::Awakened), now);
    raise(&mut active, &testing::event(EventName::UnexpectedOwner), now);
    raise(&mut active, &testing::event(EventName::Captured), now);
    raise(&mut active, &testing::event(EventName::Answered), now);
    let alerts = alerts(&active, now);
    let shown: Vec<String> = alerts.iter().map(|alert| format!("{:?}", alert.labels)).collect();
    assert_eq!(
        shown,
        [
            r#"{"alertname": "GhostportBindOnDormantPort", "cause": "bind", "dc": "fra", "instance": "web1:10948", "job": "ghostport", "port": "2948", "severity": "critical"}"#,
            r#"{"alertname": "GhostportUnexpectedOwner", "dc": "fra", "instance": "web1:10948", "job": "ghostport", "port": "2948", "protocol": "tcp", "severity": "critical"}"#,
            r#"{"alertname": "GhostportPortCaptured", "dc": "fra", "instance": "web1:10948", "job": "ghostport", "port": "2948", "protocol": "tcp", "severity": "critical"}"#,
            r#"{"alertname": "GhostportPortAnswered", "dc": "fra", "instance": "web1:10948", "job": "ghostport", "port": "2948", "protocol": "tcp", "severity": "critical"}"#,
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
    let json = serde_json::to_value(&alerts[0]).expect("JSON");
    assert_eq!(json["startsAt"], "1970-01-01T00:00:01.000000001Z");
    assert_eq!(json["endsAt"], "1970-01-01T00:04:00Z");
}

#[test]
fn names_a_refused_bind() {
    let event = testing::awakened_by_refused_bind();
    let now = Instant::now();
    let mut active = Active::default();
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
    assert!(is_alarming(&testing::event(EventName::Awakened)));
    assert!(is_alarming(&testing::event(EventName::UnexpectedOwner)));
    assert!(is_alarming(&testing::event(EventName::Answered)));
    let mut captured = testing::event(EventName::Captured);
    assert!(is_alarming(&captured));
    let EventBody::Captured(capture) = &mut captured.body else { panic!("not captured") };
    capture.is_targeted = false;
    assert!(!is_alarming(&captured), "a capture of everything");
}

#[test]
fn repeats_an_alert_until_its_port_is_quiet() {
    let start = Instant::now();
    let mut active = Active::default();
    raise(&mut active, &on_port(1), start);
    let keys = active.due(start);
    assert_eq!((keys.len(), active.unsent()), (1, 1));
    assert_eq!(active.sent(&keys, start), 1);
    assert_eq!(active.unsent(), 0);
    assert!(active.due(start + MINUTE / 2).is_empty());
    assert_eq!(active.due(start + MINUTE), keys, "long before it would end by itself");

    // The port is quiet, but Alertmanager may still wait for other alerts.
    active.end_quiet(|_| false, start + 4 * MINUTE);
    active.sent(&keys, start + 4 * MINUTE);
    assert!(active.due(start + 4 * MINUTE).is_empty());
    active.end_quiet(|_| true, start + 6 * MINUTE);
    active.sent(&keys, start + 6 * MINUTE);
    assert!(active.due(start + 6 * MINUTE).is_empty(), "the port is still awake");

    active.end_quiet(|_| false, start + 7 * MINUTE);
    let ended = alerts(&active, start + 7 * MINUTE);
    assert!(ended[0].ends_at > Timestamp::UNIX_EPOCH + jiff::Span::new().hours(1));
    active.sent(&keys, start + 7 * MINUTE);
    assert_eq!(active.next_due(), None, "it is over");
}

#[test]
fn sends_an_alert_that_is_raised_again_at_once() {
    let start = Instant::now();
    let mut active = Active::default();
    raise(&mut active, &on_port(1), start);
    let keys = active.due(start);
    active.sent(&keys, start);
    active.end_quiet(|_| false, start + 5 * MINUTE);
    raise(&mut active, &on_port(1), start + 5 * MINUTE);
    let again = alerts(&active, start + 5 * MINUTE);
    assert_eq!(again.len(), 1);
    assert!(again[0].ends_at < Timestamp::UNIX_EPOCH + jiff::Span::new().hours(1), "not ended");
}

#[test]
fn limits_the_active_alerts() {
    let now = Instant::now();
    let mut active = Active::default();
    for port in 1..=CAPACITY as u16 {
        raise(&mut active, &on_port(port), now);
    }
    assert!(!active.raise(&on_port(60_000), &labels(), now));
    raise(&mut active, &on_port(1), now);
    assert_eq!(active.unsent(), CAPACITY as u64 + 1);
}

#[test]
fn gives_up_sending_the_end_of_an_alert() {
    let start = Instant::now();
    let mut active = Active::default();
    raise(&mut active, &on_port(1), start);
    active.end_quiet(|_| false, start + 5 * MINUTE);
    assert_eq!(active.give_up(start + 14 * MINUTE), 0);
    assert_eq!(active.give_up(start + 15 * MINUTE), 1);
    assert_eq!(active.unsent(), 0);
}
