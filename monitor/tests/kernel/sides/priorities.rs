//! Threads of different priorities that count on one CPU: one may run in the middle of another's
//! system call, on a kernel with `CONFIG_PREEMPT_RT` in the middle of its packet.

use std::{
    net::{Ipv4Addr, UdpSocket},
    thread,
    time::Duration,
};

use testkit::{
    agent::{Agent, Config},
    realtime, scaled,
    world::in_world,
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
            testkit::eventually("every packet", || {
                let seen = packets(&agent, "udp", "local");
                (seen >= sent).then_some(())
            });
            thread::sleep(Duration::from_millis(200));
            // Each leaves as one to a port elsewhere, and arrives as one to a port here.
            assert_eq!(packets(&agent, "udp", "local"), sent, "{mode}: ingress");
            assert_eq!(packets(&agent, "udp", "remote"), sent, "{mode}: egress");
        });
    }
}

/// Sends about this many datagrams over loopback; returns how many. `None` if the priorities are not
/// granted.
fn send_from_all(amount: u64) -> Option<u64> {
    // Nobody reads: a full queue drops them after they are counted.
    let _receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, watched())).expect("bound");
    let (stop, stopped) =
        (std::sync::atomic::AtomicBool::new(false), std::sync::atomic::Ordering::Relaxed);
    thread::scope(|scope| {
        let stop = &stop;
        let senders = SENDERS.map(|(priority, pause)| {
            scope.spawn(move || {
                realtime::enter(0, priority).ok()?;
                let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("bound");
                let mut sent = 0;
                while sent < amount && !stop.load(stopped) {
                    socket.send_to(b"ping", (Ipv4Addr::LOCALHOST, watched())).expect("sent");
                    sent += 1;
                    if pause > 0 {
                        thread::sleep(Duration::from_micros(pause));
                    } else if sent == amount {
                        stop.store(true, stopped);
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
