//! Tests of the baseline as a whole.

mod properties;

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use monitor_common::flow::Protocol;

use super::*;

const SECOND: u64 = 1_000_000_000;

fn settings(learn: u64) -> Settings {
    Settings { learn: Duration::from_secs(learn), automatic: 32_768..=60_999 }
}

fn at(seconds: u64) -> Moment {
    let wall = Timestamp::from_second(1_700_000_000 + seconds as i64).expect("a time");
    Moment { covered_ns: seconds * SECOND, wall }
}

fn program(executable: &str, user: &str) -> Program {
    Program {
        executable: Some(executable.to_owned()),
        unit: Some("a.service".to_owned()),
        user: Some(user.to_owned()),
        container: None,
    }
}

fn listener(port: u16, executable: &str) -> Listener {
    Listener {
        protocol: Protocol::Tcp,
        port,
        scope: Scope::World,
        port_was_named: None,
        program: program(executable, "root"),
    }
}

/// A scan that finds these listeners. Returns what is new.
fn scan(baseline: &mut Baseline, seconds: u64, found: &[Listener]) -> Vec<News> {
    baseline.tick(seconds * SECOND);
    let news: Vec<News> =
        found.iter().filter_map(|found| baseline.observe(at(seconds), found).news).collect();
    let entries: Vec<u32> = news.iter().map(|news| news.entry).collect();
    let gone = baseline.finish_scan(at(seconds), true, |_| true);
    baseline.reported(&entries);
    news.into_iter().chain(gone).collect()
}

/// A baseline that has learned these in ten seconds.
fn learned(found: &[Listener]) -> Baseline {
    let mut baseline = Baseline::new(settings(10));
    for seconds in [0, 10] {
        assert_eq!(scan(&mut baseline, seconds, found), []);
    }
    assert!(!baseline.is_learning());
    baseline
}

fn novelties(news: &[News]) -> Vec<(u16, Novelty)> {
    news.iter().map(|news| (news.port, news.novelty.clone())).collect()
}

fn difference(field: Field, from: &str, to: &str) -> Difference {
    Difference { field, from: Some(from.to_owned()), to: Some(to.to_owned()) }
}

#[test]
fn what_was_learned_is_no_news_and_anything_else_is_once() {
    let (ssh, web) = (listener(22, "/usr/sbin/sshd"), listener(80, "/usr/sbin/nginx"));
    let mut baseline = learned(std::slice::from_ref(&ssh));
    let both = [ssh.clone(), web];
    assert_eq!(novelties(&scan(&mut baseline, 20, &both)), [(80, Novelty::New)]);
    assert_eq!(scan(&mut baseline, 30, &both), []);
    assert_eq!(scan(&mut baseline, 40, &[ssh]), [], "a restart");
    assert_eq!(scan(&mut baseline, 50, &both), []);
    assert_eq!(baseline.changes(), [1, 0, 0]);
}

#[test]
fn another_program_user_or_scope_on_a_port_is_a_change() {
    let web = listener(80, "/usr/sbin/nginx");
    let mut baseline = learned(std::slice::from_ref(&web));
    let found = scan(&mut baseline, 20, &[listener(80, "/tmp/nginx")]);
    let executable = difference(Field::Executable, "/usr/sbin/nginx", "/tmp/nginx");
    assert_eq!(novelties(&found), [(80, Novelty::Changed(vec![executable]))]);
    let of_user = Listener { program: program("/usr/sbin/nginx", "mail"), ..web.clone() };
    let user = difference(Field::User, "root", "mail");
    assert_eq!(
        novelties(&scan(&mut baseline, 30, &[of_user])),
        [(80, Novelty::Changed(vec![user]))]
    );
    let local = Listener { scope: Scope::Host, ..web };
    let scope = difference(Field::Scope, "world", "host");
    assert_eq!(
        novelties(&scan(&mut baseline, 40, &[local])),
        [(80, Novelty::Changed(vec![scope]))]
    );
    assert_eq!(baseline.changes(), [0, 3, 0]);
}

#[test]
fn a_new_version_of_a_program_is_the_same_one() {
    let mut baseline = learned(&[listener(80, "/opt/web-1.2/bin/web")]);
    assert_eq!(scan(&mut baseline, 20, &[listener(80, "/opt/web-1.10/bin/web")]), []);
    let shown: Vec<_> = baseline.entries().map(|entry| &entry.program.executable).collect();
    assert_eq!(shown, [&Some("/opt/web-1.10/bin/web".to_owned())]);
}

#[test]
fn a_port_that_the_kernel_chose_may_be_another_one_next_time() {
    let mut baseline = learned(&[listener(40_000, "/usr/sbin/rpc.statd")]);
    assert_eq!(scan(&mut baseline, 20, &[listener(50_000, "/usr/sbin/rpc.statd")]), []);
    let other = scan(&mut baseline, 30, &[listener(50_001, "/tmp/x")]);
    assert_eq!(novelties(&other), [(50_001, Novelty::New)]);
    let named = Listener { port_was_named: Some(true), ..listener(40_000, "/usr/sbin/d") };
    let mut baseline = learned(std::slice::from_ref(&named));
    let next = Listener { port: 40_001, ..named };
    assert_eq!(novelties(&scan(&mut baseline, 20, &[next])), [(40_001, Novelty::New)]);
}

#[test]
fn learning_lasts_until_a_scan_has_ended() {
    let mut baseline = Baseline::new(settings(1));
    baseline.tick(0);
    baseline.tick(100 * SECOND);
    assert!(baseline.is_learning());
    assert_eq!(baseline.observe(at(100), &listener(22, "/sshd")).news, None);
    assert_eq!(baseline.finish_scan(at(100), false, |_| true), []);
    assert!(!baseline.is_learning());
    assert!(baseline.observe(at(101), &listener(23, "/telnetd")).news.is_some());
}

#[test]
fn a_longer_time_continues_the_learning() {
    let mut baseline = learned(&[]);
    assert_eq!(scan(&mut baseline, 20, &[listener(80, "/web")]).len(), 1);
    baseline.configure(settings(100));
    assert_eq!(scan(&mut baseline, 30, &[listener(80, "/web"), listener(81, "/web")]), []);
    let standings: Vec<_> = baseline.entries().map(|entry| entry.standing).collect();
    assert_eq!(standings, [Standing::Learned]);
}

#[test]
fn a_listener_is_gone_after_longer_than_ever_before() {
    let web = listener(80, "/web");
    let mut baseline = learned(std::slice::from_ref(&web));
    assert_eq!(scan(&mut baseline, 310, &[]), [], "as a restart");
    assert_eq!(novelties(&scan(&mut baseline, 311, &[])), [(80, Novelty::Gone)]);
    assert_eq!(scan(&mut baseline, 1_000, &[]), [], "once");
    assert_eq!(scan(&mut baseline, 2_000, std::slice::from_ref(&web)), [], "it was learned");
    assert_eq!(scan(&mut baseline, 5_900, &[]), [], "it was absent for 1,990 seconds before");
    assert_eq!(novelties(&scan(&mut baseline, 6_000, &[])), [(80, Novelty::Gone)]);
    assert_eq!(baseline.changes(), [0, 0, 2]);
}

#[test]
fn a_scan_that_missed_something_finds_nothing_gone() {
    let mut baseline = learned(&[listener(80, "/web")]);
    assert_eq!(baseline.finish_scan(at(10_000), false, |_| true), []);
}

#[test]
fn a_port_that_is_no_longer_watched_is_not_gone() {
    let mut baseline = learned(&[listener(80, "/web"), listener(81, "/web")]);
    let gone = baseline.finish_scan(at(10_000), true, |port| port == 81);
    assert_eq!(novelties(&gone), [(81, Novelty::Gone)]);
}

#[test]
fn what_was_outside_and_is_gone_is_news_again() {
    let mut baseline = learned(&[]);
    let (web, new) = (listener(80, "/web"), [(80, Novelty::New)]);
    assert_eq!(novelties(&scan(&mut baseline, 20, std::slice::from_ref(&web))), new);
    assert_eq!(novelties(&scan(&mut baseline, 400, &[])), [(80, Novelty::Gone)]);
    assert_eq!(baseline.entries().count(), 0);
    assert_eq!(novelties(&scan(&mut baseline, 410, &[web])), new);
}

#[test]
fn news_that_were_not_reported_are_found_again_after_a_crash() {
    let mut baseline = learned(&[listener(22, "/sshd")]);
    let web = listener(80, "/web");
    let news = baseline.observe(at(20), &web).news.expect("news");
    let restored = |changes: Vec<(u32, Option<Entry>)>| {
        let mut next = Baseline::new(settings(10));
        let entries = changes.into_iter().filter_map(|(id, entry)| Some((id, entry?)));
        next.restore(baseline.saved(), entries, 20 * SECOND);
        next
    };
    let mut first = baseline.clone();
    let mut killed = restored(first.take_changes());
    assert!(killed.observe(at(21), &web).news.is_some());
    assert_eq!(killed.observe(at(21), &listener(22, "/sshd")).news, None);
    first.reported(&[news.entry]);
    assert_eq!(first.take_changes().len(), 1, "it is saved now");
    let mut reported = baseline.clone();
    reported.reported(&[news.entry]);
    assert_eq!(restored(reported.take_changes()).observe(at(21), &web).news, None);
}

#[test]
fn what_is_gone_is_saved_beside_news_that_were_not_reported() {
    let (web, other) = (listener(80, "/web"), listener(81, "/web"));
    let mut baseline = learned(&[]);
    let mut saved = BTreeMap::new();
    assert_eq!(scan(&mut baseline, 20, std::slice::from_ref(&web)).len(), 1);
    saved.extend(baseline.take_changes());
    assert!(baseline.observe(at(400), &other).news.is_some());
    let gone = baseline.finish_scan(at(400), true, |_| true);
    assert_eq!(novelties(&gone), [(80, Novelty::Gone)]);
    saved.extend(baseline.take_changes());
    let mut killed = Baseline::new(settings(10));
    let entries = saved.into_iter().filter_map(|(id, entry)| Some((id, entry?)));
    killed.restore(baseline.saved(), entries, 400 * SECOND);
    for listener in [web, other] {
        let news = killed.observe(at(401), &listener).news;
        assert_eq!(news.map(|news| news.novelty), Some(Novelty::New), "{}", listener.port);
    }
}

#[test]
fn a_process_that_has_ended_is_what_is_left_of_it() {
    let ssh = listener(22, "/usr/sbin/sshd");
    let ended =
        Listener { program: Program { executable: None, ..ssh.program.clone() }, ..ssh.clone() };
    assert_eq!(learned(std::slice::from_ref(&ssh)).observe(at(20), &ended).news, None);
    assert_eq!(learned(&[ended]).observe(at(20), &ssh).news, None);
    let unknown = Listener { program: Program::default(), ..ssh.clone() };
    assert!(learned(&[ssh]).observe(at(20), &unknown).news.is_some());
}

#[test]
fn what_is_learned_of_a_program_later_completes_its_entry() {
    let mut baseline = learned(&[]);
    let web = listener(80, "/web");
    let called = Listener { program: Program { user: None, ..web.program.clone() }, ..web.clone() };
    assert!(baseline.observe(at(20), &called).news.is_some());
    assert_eq!(baseline.observe(at(21), &web).news, None);
    let users: Vec<_> = baseline.entries().map(|entry| entry.program.user.as_deref()).collect();
    assert_eq!(users, [Some("root")]);
    let of_other = Listener { program: program("/web", "mail"), ..web.clone() };
    assert!(baseline.observe(at(22), &of_other).news.is_some(), "another user");
    assert_eq!(baseline.standing(&web), Some(Standing::Outside));
    assert_eq!(baseline.standing(&listener(81, "/web")), None);
}

#[test]
fn pods_with_the_same_port_are_no_change_of_each_other() {
    let pod = |executable: &str| Listener {
        program: Program { container: Some("*".into()), ..program(executable, "0") },
        ..listener(8080, executable)
    };
    let mut baseline = learned(&[pod("/a")]);
    let found = scan(&mut baseline, 20, &[pod("/a"), pod("/b")]);
    assert_eq!(novelties(&found), [(8080, Novelty::New)]);
}

#[test]
fn memory_is_bounded() {
    let mut baseline = learned(&[]);
    for number in 0..=MAX_ENTRIES as u16 + 10 {
        let name: String = number.to_string().chars().map(|d| (d as u8 + 49) as char).collect();
        baseline.observe(at(20), &listener(number + 1, &format!("/tmp/{name}")));
    }
    assert_eq!(baseline.entries().count(), MAX_ENTRIES);
    let mut baseline = learned(&[]);
    let all = (1..=u16::MAX)
        .filter(|port| baseline.observe(at(20), &listener(*port, "/tmp/scan")).news.is_some());
    assert_eq!(all.count(), 65_535);
    let entry = baseline.entries().next().expect("one entry");
    assert!(entry.ports.single.len() <= MAX_PORTS);
    assert_eq!(entry.ports.range, Some((1, u16::MAX)));
}

#[test]
fn a_scan_of_all_ports_is_one_event() {
    let mut baseline = learned(&[]);
    let mut groups = NewsGroups::default();
    for port in 1..=u16::MAX {
        let now_ns = u64::from(port) * SECOND / 2000;
        assert_eq!(groups.due(now_ns), [], "{port}");
        let news = baseline.observe(at(20), &listener(port, "/tmp/scan")).news;
        groups.add(
            news.expect("news"),
            (Noticed::ByCalls(1), false),
            (at(20).wall, now_ns),
            || Some("evidence"),
        );
        assert_eq!(baseline.observe(at(20), &listener(port, "/tmp/scan")).news, None, "once");
    }
    let due = groups.due(40 * SECOND);
    let [event] = due.as_slice() else { panic!("{} events", due.len()) };
    assert_eq!((event.count, event.evidence), (65_535, Some("evidence")));
    assert_eq!(event.ports, (1..=64).collect::<Vec<u16>>());
    assert!(groups.is_empty());
}

#[test]
fn events_are_bounded_and_none_is_lost() {
    let mut groups = NewsGroups::default();
    let (mut events, mut added, mut counted) = (0, 0, 0);
    for round in 0..600_u64 {
        for name in 0..40 {
            let name: String = ["/tmp/"].into_iter().chain(vec!["x"; name]).collect();
            let news = News {
                entry: 1,
                novelty: Novelty::New,
                protocol: Protocol::Tcp,
                port: 80,
                scope: Scope::World,
                program: program(&name, "root"),
            };
            groups.add(
                news,
                (Noticed::ByCalls(1), false),
                (at(0).wall, round * 10 * SECOND),
                || Some(()),
            );
            added += 1;
        }
        let due = groups.due((round * 10 + 5) * SECOND);
        events += due.len();
        counted += due.iter().map(|group| group.count).sum::<u64>();
    }
    assert!(events <= 64 + 100 + 1, "{events} events in 100 minutes");
    counted += groups.flush().iter().map(|group| group.count).sum::<u64>();
    assert_eq!(counted, added);
}

/// A call that opened `count` listeners, of which the port of the first is known.
fn call(baseline: &mut Baseline, groups: &mut NewsGroups<()>, port: u16, count: u64) {
    let program = Program { user: None, ..program("/scan", "root") };
    let listener = Listener { program, ..listener(port, "/scan") };
    let times = (at(20).wall, 0);
    match baseline.observe(at(20), &listener).news {
        Some(news) => groups.add(news, (Noticed::ByCalls(count), false), times, || None),
        None if count > 1 => groups.add_calls(&listener, count, times),
        None => {}
    }
}

#[test]
fn what_a_scan_finds_of_calls_that_were_summed_up_counts_once() {
    for (open, is_scanned_first) in [(0, false), (40, false), (100, false), (40, true), (100, true)]
    {
        let (mut baseline, mut groups) = (learned(&[]), NewsGroups::default());
        let scan = |baseline: &mut Baseline, groups: &mut NewsGroups<()>| {
            for port in 1100 - open..1100 {
                if let Some(news) = baseline.observe(at(20), &listener(port, "/scan")).news {
                    groups.add(news, (Noticed::ByScan, false), (at(20).wall, 0), || None);
                }
            }
        };
        call(&mut baseline, &mut groups, 1000, 1);
        call(&mut baseline, &mut groups, 1001, 1);
        if is_scanned_first {
            scan(&mut baseline, &mut groups);
        }
        call(&mut baseline, &mut groups, 1002, 98);
        if !is_scanned_first {
            scan(&mut baseline, &mut groups);
        }
        let counts: Vec<u64> = groups.flush().iter().map(|news| news.count).collect();
        assert_eq!(counts, [100], "{open} open, scanned first: {is_scanned_first}");
    }
}

#[test]
fn calls_that_were_summed_up_wait_for_a_scan_that_began_later() {
    let (mut baseline, mut groups) = (learned(&[]), NewsGroups::default());
    call(&mut baseline, &mut groups, 1000, 100);
    groups.end_scan(0);
    assert_eq!(groups.due(30 * SECOND), [], "it may not have seen them all");
    groups.end_scan(1);
    assert_eq!(groups.due(30 * SECOND).len(), 1);
    call(&mut baseline, &mut groups, 2000, 100);
    assert_eq!(groups.due(60 * SECOND).len(), 1, "no longer than a minute");
}
