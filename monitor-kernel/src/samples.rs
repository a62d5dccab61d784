//! First payloads and connection attempts, from the kernel side's ring buffer of samples.

use std::io;

use monitor_common::sample_record::SampleRecord;

use super::ring::{Ring, decoded_or_logged};

/// The ring buffer of samples.
pub struct Samples(Ring);

impl Samples {
    /// Opens the ring buffer of a loaded object.
    pub fn open(object: &aya::Ebpf) -> io::Result<Self> {
        Ring::open(object, "SAMPLES").map(Self)
    }

    /// Waits for samples and passes each to `take`.
    pub async fn receive(&mut self, take: impl FnMut(SampleRecord)) -> io::Result<()> {
        self.0.wait().await?;
        self.0.drain(|bytes| decoded_or_logged(SampleRecord::decode(bytes)), take);
        Ok(())
    }
}
