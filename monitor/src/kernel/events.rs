//! Records from the kernel side's ring buffers.

use std::{io, os::fd::AsRawFd};

use aya::maps::{Map, MapData, RingBuf};
use monitor_common::socket_event::{
    COMMAND_LINE_LEN, SocketEvent, SocketEventWithCommandLine, known,
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    task::yield_now,
};

/// Records that are taken at once: more than the ring holds, so that a turn ends although whoever
/// binds in a loop fills the ring as fast as it is read.
const BATCH: usize = 4096;

/// The ring buffer of socket events.
pub struct Events {
    ring: AsyncFd<RingBuf<MapData>>,
    /// Whether the last turn ended before the ring was empty: nobody will wake us for the rest.
    has_more: bool,
}

impl Events {
    /// Takes the ring buffer of a loaded object.
    pub fn open(object: &mut aya::Ebpf) -> io::Result<Self> {
        let map = object.take_map("EVENTS").ok_or(io::ErrorKind::NotFound)?;
        let ring: RingBuf<MapData> = Map::try_into(map).map_err(io::Error::other)?;
        Ok(Self { ring: readable(ring)?, has_more: false })
    }

    /// Waits for records and hands each to `take`, with the caller's command line if it has one. A
    /// record of another size is none of ours.
    pub async fn read(&mut self, take: impl FnMut(&SocketEvent, Option<&[u8]>)) -> io::Result<()> {
        if self.has_more {
            yield_now().await;
        } else {
            self.ring.readable_mut().await?.clear_ready();
        }
        self.drain(take);
        Ok(())
    }

    /// Hands over what is there now.
    pub fn drain(&mut self, mut take: impl FnMut(&SocketEvent, Option<&[u8]>)) {
        let ring = self.ring.get_mut();
        self.has_more = true;
        for _ in 0..BATCH {
            // A copy, so that the ring forgets a record before anybody is told of it: an agent that
            // is killed in between tells it never, rather than twice.
            let Some(record) = ring.next().map(|bytes| Record::decode(&bytes)) else {
                self.has_more = false;
                return;
            };
            if let Some(record) = record {
                take(&record.event, record.command_line.as_deref());
            }
        }
    }
}

/// What a record says.
struct Record {
    event: SocketEvent,
    /// What there is of it.
    command_line: Option<Vec<u8>>,
}

impl Record {
    /// Records differ by their size.
    fn decode(bytes: &[u8]) -> Option<Self> {
        if let Ok(event) = bytemuck::try_pod_read_unaligned(bytes) {
            return Some(Self { event, command_line: None });
        }
        let SocketEventWithCommandLine { event, command_line, .. } =
            bytemuck::try_pod_read_unaligned(bytes).ok()?;
        let len = COMMAND_LINE_LEN.min(event.command_line_len as usize);
        let is_known = event.known & known::COMMAND_LINE != 0;
        Some(Self { event, command_line: is_known.then(|| command_line[..len].to_vec()) })
    }
}

/// Waits on the descriptor of a ring buffer, which stays the same for as long as it lives.
pub(super) fn readable<T: AsRawFd>(ring: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: aya's ring buffers own their map, hand out its one descriptor, and close it only
    // when they are dropped, after `AsyncFd` has forgotten it.
    let watched = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) };
    watched.map_err(|error| io::Error::other(error.to_string()))
}
