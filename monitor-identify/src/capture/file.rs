//! pcap and pcapng files, read as a stream: a capture may be larger than memory.

use std::io::{self, Read};

use anyhow::{Context as _, Result, anyhow, bail};
use pcap_parser::{
    Block, PcapBlockOwned, PcapError, create_reader,
    traits::{PcapNGPacketBlock as _, PcapReaderIterator},
};

use super::{
    conversation::{Conversations, Finding, Summary},
    link::{self, Carried},
    packet::{NoPacket, Packet},
};

/// Bytes that are read at once.
const BUFFER: usize = 256 * 1024;
/// The largest block: no packet is larger, and a damaged length must not take all memory.
const MAX_BUFFER: usize = 16 * 1024 * 1024;
/// Interfaces of a section; more are damage.
const MAX_INTERFACES: usize = 65_536;

/// Whether a file that begins so is a capture.
pub fn is_capture(start: &[u8]) -> bool {
    matches!(
        start[..],
        [0xa1, 0xb2, 0xc3, 0xd4]
            | [0xd4, 0xc3, 0xb2, 0xa1]
            | [0xa1, 0xb2, 0x3c, 0x4d]
            | [0x4d, 0x3c, 0xb2, 0xa1]
            | [0xa1, 0xb2, 0xcd, 0x34]
            | [0x34, 0xcd, 0xb2, 0xa1]
            | [0x0a, 0x0d, 0x0d, 0x0a]
    )
}

/// Reads a capture to its end, or to where it is damaged, and reports its conversations.
pub fn read(
    reader: impl Read + Send,
    tell: &mut dyn FnMut(&Finding) -> io::Result<()>,
) -> (Summary, Result<()>) {
    let mut conversations = Conversations::new(tell);
    let outcome = packets(reader, &mut conversations);
    let (summary, told) = conversations.finish();
    let outcome = told.map_err(Into::into).and(outcome);
    let unsupported = summary.unsupported;
    let outcome = outcome.and_then(|()| match unsupported {
        0 => Ok(()),
        1 => Err(anyhow!("1 packet has a link layer that ghostport does not know")),
        count => Err(anyhow!("{count} packets have a link layer that ghostport does not know")),
    });
    (summary, outcome)
}

fn packets(reader: impl Read + Send, conversations: &mut Conversations<'_>) -> Result<()> {
    let mut reader = create_reader(BUFFER, Filling(reader))
        .map_err(|error| explained(&error))
        .context("the header of the capture cannot be read")?;
    let mut capacity = BUFFER;
    let mut interfaces = Interfaces::default();
    let mut blocks = 0_u64;
    loop {
        let problem = match reader.next() {
            Ok((len, block)) => {
                blocks += 1;
                take(&block, &mut interfaces, conversations)?;
                reader.consume(len);
                continue;
            }
            Err(problem) => problem.to_owned_vec(),
        };
        match problem {
            PcapError::Eof => return Ok(()),
            PcapError::Incomplete(_) if !reader.reader_exhausted() => refill(reader.as_mut())?,
            PcapError::BufferTooSmall if capacity < MAX_BUFFER => {
                capacity *= 2;
                reader.grow(capacity);
                refill(reader.as_mut())?;
            }
            _ if reader.data().is_empty() && reader.reader_exhausted() => return Ok(()),
            problem => {
                let at = reader.consumed();
                return Err(explained(&problem))
                    .with_context(|| format!("damaged behind block {blocks}, at byte {at}"));
            }
        }
    }
}

/// Reads until the buffer is full: the parser takes the first read for all that there is of a
/// header, and a pipe gives what it has.
struct Filling<R>(R);

impl<R: Read> Read for Filling<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.0.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(len) => filled += len,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

fn refill(reader: &mut (dyn PcapReaderIterator + Send)) -> Result<()> {
    reader.refill().map_err(|error| explained(&error))
}

fn explained(error: &PcapError<&[u8]>) -> anyhow::Error {
    match error {
        PcapError::UnexpectedEof | PcapError::Incomplete(_) | PcapError::Eof => {
            anyhow!("it ends in the middle of a block")
        }
        PcapError::BufferTooSmall => anyhow!("a block claims to be larger than 16 MiB"),
        PcapError::ReadError => anyhow!("it cannot be read"),
        PcapError::HeaderNotRecognized => anyhow!("it is neither pcap nor pcapng"),
        PcapError::NomError(..) | PcapError::OwnedNomError(..) => anyhow!("a block is malformed"),
    }
}

/// Link layers: of the file in pcap, of each interface of the section in pcapng.
#[derive(Default)]
struct Interfaces(Vec<i32>);

fn take(
    block: &PcapBlockOwned<'_>,
    interfaces: &mut Interfaces,
    conversations: &mut Conversations<'_>,
) -> Result<()> {
    let (interface, packet) = match block {
        PcapBlockOwned::LegacyHeader(header) => {
            interfaces.0 = vec![header.network.0];
            return Ok(());
        }
        PcapBlockOwned::NG(Block::SectionHeader(_)) => {
            interfaces.0.clear();
            return Ok(());
        }
        PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => {
            if interfaces.0.len() >= MAX_INTERFACES {
                bail!("a section describes more than {MAX_INTERFACES} interfaces");
            }
            interfaces.0.push(interface.linktype.0);
            return Ok(());
        }
        PcapBlockOwned::Legacy(packet) => (0, packet.data),
        PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
            (packet.if_id as usize, packet.packet_data())
        }
        PcapBlockOwned::NG(Block::SimplePacket(packet)) => (0, packet.packet_data()),
        // Names, statistics, secrets and the like.
        PcapBlockOwned::NG(_) => return Ok(()),
    };
    let Some(linktype) = interfaces.0.get(interface) else {
        bail!("a packet is of interface {interface}, which the capture does not describe");
    };
    let packet = match link::strip(*linktype, packet) {
        Carried::Ip { ethertype, bytes } => Packet::parse(bytes, ethertype),
        Carried::Other => Err(NoPacket::NotOurs),
        Carried::Cut => {
            Err(NoPacket::Unclassified(monitor_common::packet::Unclassified::Truncated))
        }
        Carried::Unsupported => {
            conversations.summary.unsupported += 1;
            return Ok(());
        }
    };
    Ok(conversations.take(packet)?)
}
