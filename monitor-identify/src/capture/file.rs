//! Captures as people have them: pcap and pcapng, compressed or not, read as a stream, because one
//! may be larger than memory.

use std::{
    collections::BTreeMap,
    io::{self, Read},
};

use monitor_common::packet::Unclassified;

use super::{
    compression::Compression,
    conversation::Conversations,
    error::CaptureError,
    finding::{Finding, Summary},
    link::{self, Carried},
    packet::NoPacket,
    pcap::{self, Pcap},
    pcapng::{self, Pcapng},
    record::Record,
    source::Source,
    tunnel,
};

/// Whether a file that begins so is a capture that is not compressed.
pub fn is_capture(start: &[u8]) -> bool {
    pcap::is_magic(start) || pcapng::is_magic(start)
}

/// Reads a capture to its end, or to where it is damaged, and gives its conversations to `report`.
///
/// What is compressed by gzip or zstd is decompressed.
pub fn read(
    mut reader: impl Read,
    report: &mut dyn FnMut(&Finding) -> io::Result<()>,
) -> (Summary, Result<(), CaptureError>) {
    let mut conversations = Conversations::new(report);
    let mut unknown = UnknownLinkLayers::default();
    let mut outcome =
        decompressed(&mut reader, &mut |reader| packets(reader, &mut conversations, &mut unknown));
    let (summary, reported) = conversations.finish();
    outcome = reported.map_err(CaptureError::Write).and(outcome);
    (summary, outcome.and_then(|()| unknown.outcome()))
}

/// Gives what is in a reader to `read`, decompressed if it is compressed.
fn decompressed(
    reader: &mut dyn Read,
    read: &mut dyn FnMut(&mut dyn Read) -> Result<(), CaptureError>,
) -> Result<(), CaptureError> {
    let mut start = Vec::new();
    reader.take(Compression::MAGIC_LEN as u64).read_to_end(&mut start)?;
    let mut whole = start.as_slice().chain(reader);
    match Compression::of(&start) {
        Some(compression) => read(&mut compression.decoder(whole)?),
        None => read(&mut whole),
    }
}

fn packets(
    reader: &mut dyn Read,
    conversations: &mut Conversations<'_>,
    unknown: &mut UnknownLinkLayers,
) -> Result<(), CaptureError> {
    let mut source = Source::new(reader);
    let mut take = |record: &Record<'_>| take(record, conversations, unknown);
    let start = source.peek(4)?;
    if pcapng::is_magic(start) {
        let mut file = Pcapng::new();
        while file.next(&mut source, &mut take)? {}
        return Ok(());
    }
    if !pcap::is_magic(start) {
        return Err(CaptureError::NotACapture);
    }
    let mut file = Pcap::open(&mut source)?;
    while file.next(&mut source, &mut take)? {}
    Ok(())
}

fn take(
    record: &Record<'_>,
    conversations: &mut Conversations<'_>,
    unknown: &mut UnknownLinkLayers,
) -> Result<(), CaptureError> {
    let packet = match link::strip(record.linktype, record.bytes) {
        Carried::Ip { ethertype, bytes } => tunnel::parse(bytes, ethertype),
        Carried::Other => Err(NoPacket::NotOurs),
        Carried::Cut => Err(NoPacket::Unclassified(Unclassified::Truncated)),
        Carried::Unsupported => {
            unknown.add(record.linktype);
            conversations.summary.unsupported += 1;
            return Ok(());
        }
    };
    conversations.take(packet).map_err(CaptureError::Write)
}

/// Packets by link layers that are not known here.
#[derive(Default)]
struct UnknownLinkLayers(BTreeMap<u16, u64>);

impl UnknownLinkLayers {
    fn add(&mut self, linktype: u16) {
        *self.0.entry(linktype).or_default() += 1;
    }

    fn outcome(self) -> Result<(), CaptureError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let linktypes: Vec<String> = self.0.keys().map(|number| link::described(*number)).collect();
        let packets = self.0.values().sum();
        Err(CaptureError::UnknownLinkLayer { packets, linktypes: linktypes.join(", ") })
    }
}
