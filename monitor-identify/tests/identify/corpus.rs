//! The payloads in `tests/corpus`; its README.md has the format.

use std::{fs, path::Path};

use monitor_common::flow::Protocol;
use monitor_identify::Payload;

/// A payload and what it is.
pub(crate) struct Sample {
    /// File and line.
    pub(crate) place: String,
    pub(crate) verdict: String,
    pub(crate) grade: String,
    pub(crate) transport: Protocol,
    pub(crate) source_port: u16,
    pub(crate) destination_port: u16,
    pub(crate) bytes: Vec<u8>,
}

impl Sample {
    pub(crate) fn payload(&self) -> Payload<'_> {
        Payload {
            transport: Some(self.transport),
            source_port: Some(self.source_port),
            destination_port: Some(self.destination_port),
            ..Payload::of(&self.bytes)
        }
    }
}

/// The protocols of the five ports, and attacks on them.
pub(crate) fn legacy() -> Vec<Sample> {
    read("legacy.txt")
}

/// What other software sends.
pub(crate) fn others() -> Vec<Sample> {
    let mut samples = read("captured.txt");
    for name in [
        "composed.txt",
        "intruders.txt",
        "messages.txt",
        "public.txt",
        "shells.txt",
        "variants.txt",
    ] {
        samples.extend(read(name));
    }
    samples
}

fn read(name: &str) -> Vec<Sample> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(name);
    let text = fs::read_to_string(&path).expect("the corpus");
    let lines = text.lines().enumerate();
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines.map(|(index, line)| parse(line, format!("{name}:{}", index + 1))).collect()
}

fn parse(line: &str, place: String) -> Sample {
    let fields: Vec<&str> = line.split(' ').collect();
    let [verdict, grade, transport, source, destination, hex] = fields[..] else {
        panic!("{place}: not six fields")
    };
    let transport = if transport == "udp" { Protocol::Udp } else { Protocol::Tcp };
    let digits = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).expect("ASCII"), 16);
    Sample {
        verdict: verdict.to_owned(),
        grade: grade.to_owned(),
        transport,
        source_port: source.parse().expect(&place),
        destination_port: destination.parse().expect(&place),
        bytes: hex.as_bytes().chunks(2).map(|pair| digits(pair).expect(&place)).collect(),
        place,
    }
}
