//! Nodes of cryptocurrencies: Bitcoin and its descendants, Ethereum.

use monitor_common::flow::Protocol;

use crate::{Identification, Payload, Verdict, details::Details, reader::Reader};

/// Bitcoin: a magic number of its network, a command of twelve bytes, size and checksum.
pub(crate) fn bitcoin(payload: &Payload<'_>) -> Option<Identification> {
    const COMMAND_LEN: usize = 12;
    const VERSION: &[u8] = b"version";
    let mut reader = Reader::new(payload.bytes);
    let network = match reader.array()? {
        [0xf9, 0xbe, 0xb4, 0xd9] => "Bitcoin",
        [0x0b, 0x11, 0x09, 0x07] => "Bitcoin testnet 3",
        [0x1c, 0x16, 0x3f, 0x28] => "Bitcoin testnet 4",
        [0xfa, 0xbf, 0xb5, 0xda] => "Bitcoin regtest",
        [0x0a, 0x03, 0xcf, 0x40] => "Bitcoin signet",
        [0xfb, 0xc0, 0xb6, 0xdb] => "Litecoin",
        [0xc0, 0xc0, 0xc0, 0xc0] => "Dogecoin",
        [0xe3, 0xe1, 0xf3, 0xe8] => "Bitcoin Cash",
        [0xbf, 0x0c, 0x6b, 0xbd] => "Dash",
        [0x24, 0xe9, 0x27, 0x64] => "Zcash",
        _ => return None,
    };
    let command = reader.take(COMMAND_LEN)?;
    let end = command.iter().position(|byte| *byte == 0).unwrap_or(COMMAND_LEN);
    let (name, padding) = command.split_at(end);
    let is_name = !name.is_empty()
        && name.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if !is_name || padding.iter().any(|byte| *byte != 0) {
        return None;
    }
    let mut details = Details::default();
    details.set("network", network);
    details.set_text("command", name);
    let _size_and_checksum = reader.be64();
    if name == VERSION {
        describe_version(&mut reader, &mut details);
    }
    let reason = "the magic number of a network of Bitcoin's kind, and a command";
    Some(Identification::confirmed(Verdict::Bitcoin, reason).with(details))
}

fn describe_version(reader: &mut Reader<'_>, details: &mut Details) -> Option<()> {
    details.set("protocol_version", reader.le32()?);
    // Services, time, two addresses and a random number.
    reader.take(8 + 8 + 26 + 26 + 8)?;
    details.set_some_text("user_agent", reader.block8());
    Some(())
}

/// Ethereum's discovery over UDP (discv4) and the opening of its connections (RLPx).
pub(crate) fn ethereum(payload: &Payload<'_>) -> Option<Identification> {
    if payload.may_be(Protocol::Udp)
        && let Some(found) = discovery(payload)
    {
        return Some(found);
    }
    if payload.may_be(Protocol::Tcp) { opening(payload) } else { None }
}

/// A hash, a signature, a type, and a list of RLP.
fn discovery(payload: &Payload<'_>) -> Option<Identification> {
    const HASH_AND_SIGNATURE: usize = 32 + 64;
    let mut reader = Reader::new(payload.bytes);
    reader.take(HASH_AND_SIGNATURE)?;
    let [recovery @ 0..=1, kind @ 1..=6] = reader.array()? else { return None };
    let _ = recovery;
    let list = rlp_list(&mut reader)?;
    // More elements may follow in later versions, and other bytes behind the list.
    let items = rlp_count(list)?;
    let wanted = match kind {
        1 => 4..=6,
        2 => 3..=5,
        3 | 4 => 2..=4,
        5 => 1..=3,
        _ => 2..=4,
    };
    if !wanted.contains(&items) || reader.rest().len() > 64 {
        return None;
    }
    let of_end = if reader.is_empty() { 8 } else { 0 };
    let bits = 7 + 5 + 3 + of_end + items as u32 * 5;
    let reason = "a packet of Ethereum's discovery: a signature, a type, and a list of RLP that is \
                  read to its end";
    let found = Identification::graded(Verdict::Ethereum, bits, reason)?;
    let mut details = Details::default();
    let names =
        ["", "ping", "pong", "find node", "neighbours", "record request", "record response"];
    details.set("packet", names[usize::from(kind)]);
    Some(found.with(details))
}

/// The content of a list of RLP.
fn rlp_list<'a>(reader: &mut Reader<'a>) -> Option<&'a [u8]> {
    let len = match reader.u8()? {
        short @ 0xc0..=0xf7 => usize::from(short - 0xc0),
        0xf8 => usize::from(reader.u8()?),
        0xf9 => usize::from(reader.be16()?),
        _ => return None,
    };
    reader.take(len)
}

/// How many elements fill a list; `None` if they do not.
fn rlp_count(list: &[u8]) -> Option<usize> {
    let mut reader = Reader::new(list);
    let mut count = 0;
    while let Some(first) = reader.peek() {
        match first {
            ..0x80 => reader.take(1)?,
            0x80..=0xb7 => reader.take(1 + usize::from(first - 0x80))?,
            0xb8 => {
                reader.u8()?;
                reader.block8()?
            }
            0xb9 => {
                reader.u8()?;
                reader.block16()?
            }
            0xc0.. => rlp_list(&mut reader)?,
            _ => return None,
        };
        count += 1;
    }
    Some(count)
}

/// The first message of RLPx, EIP-8: its size, and a public key in its long form.
fn opening(payload: &Payload<'_>) -> Option<Identification> {
    const UNCOMPRESSED: u8 = 4;
    let mut reader = Reader::new(payload.bytes);
    let len = usize::from(reader.be16()?);
    let is_size = len + 2 == payload.wire_len && (250..=700).contains(&len);
    if !is_size || reader.u8()? != UNCOMPRESSED {
        return None;
    }
    let reason = "the size and the key with which a connection of Ethereum's nodes begins";
    Identification::graded(Verdict::Ethereum, 14 + 8 - 4, reason)
}
