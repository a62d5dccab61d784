//! Socket calls, from the kernel side's ring buffer of events.

use std::io;

use monitor_common::{
    socket_event::{COMMAND_LINE_LEN, SocketEvent, SocketEventWithCommandLine, known},
    socket_record::SocketRecord,
};

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

    /// Waits for records and hands each to `take`, with the caller's command line if it has one.
    pub async fn read(&mut self, take: impl FnMut(&SocketEvent, Option<&[u8]>)) -> io::Result<()> {
        self.0.wait().await?;
        self.drain(take);
        Ok(())
    }

    /// Hands over what is there now.
    pub fn drain(&mut self, mut take: impl FnMut(&SocketEvent, Option<&[u8]>)) {
        self.0.drain(Record::decode, |record| take(&record.event, record.command_line.as_deref()));
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
