//! Captures: any file is read to an end, and the same whatever the size of the reads.

#![no_main]

use std::io::Read;

use libfuzzer_sys::fuzz_target;
use monitor_identify::capture;

/// A file that comes in small pieces.
struct Trickle<'a>(&'a [u8]);

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = buffer.len().min(7);
        self.0.read(&mut buffer[..length])
    }
}

fuzz_target!(|bytes: &[u8]| {
    let _ = capture::is_capture(bytes);
    assert_eq!(read(bytes), read(Trickle(bytes)), "the size of reads matters");
});

fn read(reader: impl Read + Send) -> (Vec<String>, String) {
    let mut findings = Vec::new();
    let (summary, outcome) = capture::read_capture(reader, &mut |finding| {
        findings.push(serde_json::to_string(finding)?);
        Ok(())
    });
    let outcome = outcome.map_err(|error| format!("{error:#}"));
    (findings, format!("{summary:?} {outcome:?}"))
}
