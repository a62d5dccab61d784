//! Frames at the rate that the machine can send.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::Receiver,
    },
    thread,
    time::{Duration, Instant},
};

use testkit::{
    agent::Agent,
    frames::plain_udp,
    metrics::{Counts, expect},
    patience,
    programs::Programs,
    scaled,
    wire::Wire,
    world::{Peer, received_packets},
};

use super::support::{first, second, settle};

/// Sends frames until it is stopped.
pub(super) struct Flood {
    stop: Arc<AtomicBool>,
    ended: Receiver<()>,
    before: u64,
}

const FLOOD_FRAME_LEN: u64 = 60;

/// From the first watched port to the second.
fn flood_frame() -> Vec<u8> {
    let frame = plain_udp(first(), second());
    assert_eq!(frame.len() as u64, FLOOD_FRAME_LEN);
    frame
}

impl Flood {
    /// By live frames, which need a native XDP program on both ends, where the kernel has them; by
    /// a packet socket elsewhere.
    pub(super) fn start(peer: &Peer) -> Self {
        Self::run(peer, |stopped| {
            let mut programs = Programs::load();
            programs.prepare_transmission("peer0");
            let frame = flood_frame();
            if programs.transmit("peer0", &frame, 1).is_err() {
                return Self::send(stopped);
            }
            while !stopped.load(Ordering::Relaxed) {
                programs.transmit("peer0", &frame, 50_000).expect("live frames");
            }
        })
    }

    /// By a packet socket, whatever is attached.
    pub(super) fn by_socket(peer: &Peer) -> Self {
        Self::run(peer, Self::send)
    }

    fn send(stopped: &AtomicBool) {
        let wire = Wire::open("peer0");
        let frame = flood_frame();
        while !stopped.load(Ordering::Relaxed) {
            wire.send(&frame);
        }
    }

    fn run(peer: &Peer, work: impl FnOnce(&AtomicBool) + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let before = received_packets("gp0");
        let ended = peer.start(move || work(&stopped));
        Self { stop, ended, before }
    }

    /// Frames that have arrived until now.
    fn arrived(&self) -> u64 {
        received_packets("gp0") - self.before
    }

    /// Waits for this many more, or as many as this machine can take, which must not last longer
    /// than at a tenth of the usual rate.
    pub(super) fn wait_for(&self, frames: u64) {
        let frames = scaled(frames);
        let target = self.arrived() + frames;
        let deadline = Instant::now() + patience() + Duration::from_micros(frames * 5);
        while self.arrived() < target {
            assert!(Instant::now() < deadline, "{} of {target} frames", self.arrived());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Frames that have arrived in all, none of which is still on its way.
    pub(super) fn end(mut self) -> u64 {
        self.stop();
        settle();
        self.arrived()
    }

    fn stop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.ended.recv();
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Both ports of a frame of the flood are watched: its source is the peer's, its destination ours.
pub(super) fn assert_flood_counted(agent: &Agent, frames: u64) {
    let counted = agent.metrics().traffic();
    let mut expected = Counts::new();
    for (port, side) in [(first(), "remote"), (second(), "local")] {
        let port = port.to_string();
        let labels = [
            ("interface", "gp0"),
            ("port", port.as_str()),
            ("protocol", "udp"),
            ("direction", "ingress"),
            ("side", side),
        ];
        expect(&mut expected, "ghostport_packets_total", &labels, frames);
        expect(&mut expected, "ghostport_bytes_total", &labels, frames * FLOOD_FRAME_LEN);
    }
    assert_eq!(counted, expected);
}
