//! Socket calls and notices of captures, from the kernel side's ring buffer of events.

use std::{io, mem};

use monitor_common::{capture_notice::CaptureNotice, socket_record::SocketRecord};

use super::ring::{Ring, decoded_or_logged};

/// The ring buffer of socket events.
pub struct Events {
    ring: Ring,
    /// The notices that were not taken yet.
    noticed: Vec<CaptureNotice>,
}

impl Events {
    /// Opens the ring buffer of a loaded object.
    pub fn open(object: &aya::Ebpf) -> io::Result<Self> {
        Ok(Self { ring: Ring::open(object, "EVENTS")?, noticed: Vec::new() })
    }

    /// Waits for records and passes each to `take`.
    pub async fn receive(&mut self, take: impl FnMut(SocketRecord)) -> io::Result<()> {
        self.ring.wait().await?;
        self.receive_pending(take);
        Ok(())
    }

    /// Passes the records that are there now to `take`.
    pub fn receive_pending(&mut self, take: impl FnMut(SocketRecord)) {
        let Self { ring, noticed } = self;
        let decode = |bytes: &[u8]| {
            if bytes.len() == size_of::<CaptureNotice>() {
                noticed.push(bytemuck::pod_read_unaligned(bytes));
                return None;
            }
            decoded_or_logged(SocketRecord::decode(bytes))
        };
        ring.drain(decode, take);
    }

    /// The threads that may have begun to capture packets since the last call.
    pub fn take_noticed(&mut self) -> Vec<CaptureNotice> {
        mem::take(&mut self.noticed)
    }
}
