//! Remote access trojans and the stages of Metasploit.

use crate::{Identification, Payload, Verdict, details::Details, reader::Reader};

/// The Gh0st family: a tag, the size of the message, the size of its content, and that content
/// compressed by zlib. Descendants change the tag and little else.
pub(crate) fn gh0st(payload: &Payload<'_>) -> Option<Identification> {
    const LARGEST: usize = 16 << 20;
    /// The headers that zlib writes, by level.
    const ZLIB: [[u8; 2]; 4] = [[0x78, 0x01], [0x78, 0x5e], [0x78, 0x9c], [0x78, 0xda]];
    // Five letters, as the first had it, or some others; both sizes are below 16 MiB, so that they
    // end with a zero.
    const TAG_LENS: [usize; 13] = [5, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
    let is_packed = |len: &usize| {
        let header = payload.bytes.get(len + 8..len + 10);
        header.is_some_and(|header| ZLIB.iter().any(|known| known == header))
    };
    let tag_len = TAG_LENS.into_iter().find(is_packed)?;
    let mut reader = Reader::new(payload.bytes);
    let tag = reader.take(tag_len)?;
    let size = reader.le32()? as usize;
    let unpacked = reader.le32()? as usize;
    let is_tag = tag.iter().all(u8::is_ascii_graphic)
        && (tag_len == 5
            || size == payload.wire_len
                && tag.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_@-".contains(byte)));
    let is_size = (15..LARGEST).contains(&size) && (1..LARGEST).contains(&unpacked);
    if !is_tag || !is_size {
        return None;
    }
    let of_size = if size == payload.wire_len { 16 } else { 0 };
    /// Tags of descendants that were published.
    const KNOWN: [&[u8]; 16] = [
        b"Gh0st", b"HEART", b"Heart", b"LURK0", b"PCRat", b"KrisR", b"X6RAT", b"7hero", b"cb1st",
        b"v2010", b"Sw@rd", b"xhjyk", b"URATU", b"W0LFKO", b"Spidern", b"LYRAT",
    ];
    let of_tag = if KNOWN.contains(&tag) { 32 } else { 7 };
    let reason = "a message of the Gh0st family of remote access trojans: a tag, two sizes, and \
                  content compressed by zlib";
    let found = Identification::graded(Verdict::Gh0st, of_tag + of_size + 14 + 2, reason)?;
    let mut details = Details::default();
    details.set_text("tag", tag);
    details.set("message_bytes", size);
    details.set("content_bytes", unpacked);
    Some(found.with(details))
}

/// The stage that a Meterpreter handler sends to its stager, and the packets that follow.
pub(crate) fn meterpreter(payload: &Payload<'_>) -> Option<Identification> {
    stage(payload).or_else(|| packet(payload)).or_else(|| plain_packet(payload))
}

/// A length, then code: a reflective DLL with Metasploit's entry code in its DOS header, or a script.
fn stage(payload: &Payload<'_>) -> Option<Identification> {
    /// `call $+5; pop ebx; push edx; inc ebp; push ebp; mov ebp, esp` behind `MZ`.
    const DLL_32: &[u8] = &[b'M', b'Z', 0xe8, 0, 0, 0, 0, 0x5b, 0x52, 0x45, 0x55, 0x89, 0xe5];
    /// `pop r10; push r10; push rbp; mov rbp, rsp` as `MZARUH`.
    const DLL_64: &[u8] = &[b'M', b'Z', b'A', b'R', b'U', b'H', 0x89, 0xe5];
    /// `pop edx; push ebp`, a call, and a base pointer, as `MZRE`; of Cobalt Strike.
    const BEACON_32: &[u8] = &[b'M', b'Z', b'R', b'E', 0xe8, 0, 0, 0, 0];
    let (length, code) = match payload.bytes.split_first_chunk::<4>() {
        Some((length, rest)) if !matches!(payload.bytes, [b'M', b'Z', ..] | [0xfc, ..]) => {
            (Some(*length), rest)
        }
        _ => (None, payload.bytes),
    };
    /// Magic, 64 bits, little endian, version 1; then zeros, the type and the machine x86-64.
    const ELF_64: &[u8] = &[0x7f, b'E', b'L', b'F', 2, 1, 1];
    let (kind, size) = match length {
        Some(length) if code.starts_with(ELF_64) => {
            let size = u32::from_le_bytes(length);
            if !(1000..16 << 20).contains(&size) {
                return None;
            }
            ("ELF for x86-64", Some(size))
        }
        _ if code.starts_with(DLL_32) || code.starts_with(BEACON_32) => {
            ("DLL for x86", length.map(u32::from_le_bytes))
        }
        _ if code.starts_with(DLL_64) => ("DLL for x64", length.map(u32::from_le_bytes)),
        // The code that finds the functions of Windows, with which most of its payloads begin.
        _ if matches!(code, [0xfc, 0xe8, 0x80..=0x90, 0, 0, 0, 0x60, ..]) => {
            ("code for x86", length.map(u32::from_le_bytes))
        }
        _ if code.starts_with(&[0xfc, 0x48, 0x83, 0xe4, 0xf0, 0xe8]) => {
            ("code for x64", length.map(u32::from_le_bytes))
        }
        // Classes, each behind its size.
        Some(length) if code.starts_with(&[0xca, 0xfe, 0xba, 0xbe, 0, 0, 0]) => {
            let size = u32::from_be_bytes(length);
            if !(100..1 << 20).contains(&size) {
                return None;
            }
            ("Java", Some(size))
        }
        Some(length) if code.starts_with(b"/*<?php /**/") => {
            ("PHP", Some(u32::from_be_bytes(length)))
        }
        Some(length) if code.starts_with(b"import ") || code.starts_with(b"exec(") => {
            let size = u32::from_be_bytes(length);
            // Python's stager takes any script; Meterpreter's has some ten kilobytes.
            if !(1000..1 << 20).contains(&size) {
                return None;
            }
            ("Python", Some(size))
        }
        _ => return None,
    };
    let mut details = Details::default();
    details.set("stage", kind);
    details.set_known("stage_bytes", size);
    let reason = "the stage of a Metasploit payload: its size and its entry code";
    let found = if matches!(kind, "Python" | "Java" | "ELF for x86-64") {
        Identification::consistent(Verdict::Meterpreter, reason)
    } else {
        Identification::confirmed(Verdict::Meterpreter, reason)
    };
    Some(found.with(details))
}

/// A packet since Metasploit 5: a key, and the rest combined with it by exclusive or: session id,
/// encryption, length and type.
fn packet(payload: &Payload<'_>) -> Option<Identification> {
    const HEADER_LEN: usize = 32;
    let header: &[u8; HEADER_LEN] = payload.bytes.first_chunk()?;
    let key = [header[0], header[1], header[2], header[3]];
    let word = |at: usize| {
        let bytes = [0, 1, 2, 3].map(|index| header[at + index] ^ key[index]);
        u32::from_be_bytes(bytes)
    };
    let [encryption, len, kind] = [word(20), word(24), word(28)];
    let is_right = key != [0; 4]
        && encryption <= 1
        && kind <= 1
        && len as usize + 24 == payload.wire_len
        && len >= 8;
    is_right.then(|| packet_of(kind, encryption == 1))
}

fn packet_of(kind: u32, is_encrypted: bool) -> Identification {
    let mut details = Details::default();
    details.set("packet", if kind == 0 { "request" } else { "response" });
    details.set("encrypted", is_encrypted);
    let reason = "a packet of Meterpreter: its key, encryption, length and type agree";
    Identification::confirmed(Verdict::Meterpreter, reason).with(details)
}

/// A packet before Metasploit 5: length, type, and the name of a method.
fn plain_packet(payload: &Payload<'_>) -> Option<Identification> {
    const METHOD: u32 = 0x0001_0001;
    let mut reader = Reader::new(payload.bytes);
    let [len, kind, method_len, method] =
        [reader.be32()?, reader.be32()?, reader.be32()?, reader.be32()?];
    let name = reader.text_to_nul()?;
    let is_right = len as usize == payload.wire_len
        && kind <= 1
        && method == METHOD
        && method_len as usize == 8 + name.len() + 1
        && name.iter().all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'_' | b'0'..=b'9'));
    is_right.then(|| {
        let mut found = packet_of(kind, false);
        found.details.set_text("method", name);
        found
    })
}
