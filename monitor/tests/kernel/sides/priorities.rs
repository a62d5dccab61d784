//! Threads of different priorities that count on one CPU: one may run in the middle of another's
//! system call, on a kernel with `CONFIG_PREEMPT_RT` in the middle of its packet.

use std::{
    net::{Ipv4Addr, UdpSocket},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use testkit::{
    agent::{Agent, Config},
    eventually, realtime, scaled,
    world::{in_world, udp_counter},
};

use super::support::{packets, watched};

/// Priority of each sender, and how long it pauses between two datagrams: the lowest never does, so
/// that the others come in between.
const SENDERS: [(i32, u64); 3] = [(10, 0), (50, 70), (90, 110)];

#[test]
fn loses_no_count_to_a_thread_of_higher_priority() {
    for mode in ["auto", "tc"] {
        in_world(|world| {
            let agent = Agent::start(
                world,
                &Config::new([watched()]).on(&["lo"]).mode(mode).payload(
                    // The budget of samples is a count of its own.
                    "{capture: true, keep: none}",
                ),
            );
            let amount = scaled(1_000_000).max(20_000);
            let Some(sent) = send_from_all(amount) else {
                return eprintln!("skipped: no thread may have a priority here");
            };
            eprintln!(
                "{sent} datagrams, {}",
                if realtime::is_realtime_kernel() { "PREEMPT_RT" } else { "no PREEMPT_RT" }
            );
            assert_eq!(packets(&agent, "udp", "remote"), sent, "{mode}: egress");
            // Every datagram that the stack took from the queue of its CPU finds no socket; a full
            // queue drops the others before the hook.
            let settled = || {
                let arrived = udp_counter("NoPorts");
                thread::sleep(Duration::from_millis(200));
                (arrived == udp_counter("NoPorts")).then_some(arrived)
            };
            let arrived = eventually("the last datagram", settled);
            assert!((1..=sent).contains(&arrived), "{arrived} of {sent}");
            assert_eq!(packets(&agent, "udp", "local"), arrived, "{mode}: ingress");
        });
    }
}

/// Sends about this many datagrams over loopback; returns how many. `None` if the priorities are not
/// granted.
fn send_from_all(amount: u64) -> Option<u64> {
    let stop = &AtomicBool::new(false);
    thread::scope(|scope| {
        let senders = SENDERS.map(|(priority, pause)| {
            scope.spawn(move || {
                realtime::enter(0, priority).ok()?;
                let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("bound");
                let mut sent = 0;
                while sent < amount && !stop.load(Ordering::Relaxed) {
                    socket.send_to(b"ping", (Ipv4Addr::LOCALHOST, watched())).expect("sent");
                    sent += 1;
                    if pause > 0 {
                        thread::sleep(Duration::from_micros(pause));
                    } else if sent == amount {
                        stop.store(true, Ordering::Relaxed);
                    } else if sent % 1024 == 0 {
                        // Others of this machine run, too.
                        thread::sleep(Duration::from_micros(200));
                    }
                }
                Some(sent)
            })
        });
        let counts = senders.map(|sender| sender.join().expect("sent"));
        counts.into_iter().sum()
    })
}
