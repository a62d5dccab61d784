//! Socket calls, from the kernel side's ring buffer of events.

use std::io;

use monitor_common::socket_record::SocketRecord;

use super::ring::{Ring, decoded_or_logged};

/// The ring buffer of socket events.
pub struct Events(Ring);

impl Events {
    /// Opens the ring buffer of a loaded object.
    pub fn open(object: &aya::Ebpf) -> io::Result<Self> {
        Ring::open(object, "EVENTS").map(Self)
    }

    /// Waits for records and passes each to `take`.
    pub async fn receive(&mut self, take: impl FnMut(SocketRecord)) -> io::Result<()> {
        self.0.wait().await?;
        self.receive_pending(take);
        Ok(())
    }

    /// Passes the records that are there now to `take`.
    pub fn receive_pending(&mut self, take: impl FnMut(SocketRecord)) {
        self.0.drain(|bytes| decoded_or_logged(SocketRecord::decode(bytes)), take);
    }
}
