//! Databases and services of clusters: Cassandra, Elasticsearch, ZooKeeper and Kafka.

use crate::{
    Identification, Payload, Verdict,
    details::Details,
    reader::{Reader, contains, find, is_printable},
};

/// The native protocol of Cassandra, `native_protocol_v4.spec`: version, flags, stream, opcode and
/// length.
pub(crate) fn cassandra(payload: &Payload<'_>) -> Option<Identification> {
    let mut reader = Reader::new(payload.bytes);
    let version = reader.u8()?;
    let number = version & 0x7f;
    let flags = reader.u8()?;
    // Streams have one byte before version 3.
    let stream = if number < 3 { i32::from(reader.u8()?) } else { i32::from(reader.be16()?) };
    let opcode = reader.u8()?;
    let len = reader.be32()? as usize;
    let header = payload.bytes.len() - reader.rest().len();
    let is_response = version & 0x80 != 0;
    let name = cassandra_opcode(opcode, is_response)?;
    // DataStax Enterprise has versions of its own.
    if !matches!(number, 1..=5 | 0x41 | 0x42)
        || flags & 0xe0 != 0
        || len + header != payload.wire_len
    {
        return None;
    }
    let has_version = contains(reader.rest(), b"CQL_VERSION");
    let of_content = match (opcode, len) {
        (1 | 6, _) if has_version => 40,
        (5, 0) => 8,
        _ => 0,
    };
    let of_stream = if stream < 256 { 6 } else { 0 };
    let bits = 5 + 3 + 4 + 16 + of_stream + of_content;
    let reason = "a frame of Cassandra's native protocol: version, opcode and length";
    let found = Identification::graded(Verdict::Cassandra, bits, reason)?;
    let mut details = Details::default();
    details.set("version", number);
    details.set("message", name);
    Some(found.with(details))
}

const fn cassandra_opcode(opcode: u8, is_response: bool) -> Option<&'static str> {
    Some(match (opcode, is_response) {
        (0x00, true) => "ERROR",
        (0x01, false) => "STARTUP",
        (0x02, true) => "READY",
        (0x03, true) => "AUTHENTICATE",
        (0x05, false) => "OPTIONS",
        (0x06, true) => "SUPPORTED",
        (0x07, false) => "QUERY",
        (0x08, true) => "RESULT",
        (0x09, false) => "PREPARE",
        (0x0a, false) => "EXECUTE",
        (0x0b, false) => "REGISTER",
        (0x0c, true) => "EVENT",
        (0x0d, false) => "BATCH",
        (0x0e, true) => "AUTH_CHALLENGE",
        (0x0f, false) => "AUTH_RESPONSE",
        (0x10, true) => "AUTH_SUCCESS",
        _ => return None,
    })
}

/// Elasticsearch's and OpenSearch's transport between nodes: two letters, length, number, status and
/// version.
pub(crate) fn elasticsearch(payload: &Payload<'_>) -> Option<Identification> {
    let mut reader = Reader::new(payload.bytes.strip_prefix(b"ES")?);
    let len = reader.be32()? as usize;
    let of_size = if len + 6 == payload.wire_len { 16 } else { 0 };
    if len == u32::MAX as usize {
        let reason = "the ping of Elasticsearch's transport";
        return Some(Identification::confirmed(Verdict::Elasticsearch, reason));
    }
    let _request = reader.be64()?;
    let status = reader.u8()?;
    let version = reader.be32()?;
    if status & 0xf0 != 0 || !(13..=256 << 20).contains(&len) {
        return None;
    }
    let reason = "a message of Elasticsearch's transport: its letters, its size and its status";
    let found = Identification::graded(Verdict::Elasticsearch, 16 + 4 + 4 + of_size, reason)?;
    let mut details = Details::default();
    details.set("message", if status & 1 == 0 { "request" } else { "response" });
    // Two digits for each part; OpenSearch flips a bit of it.
    let number = if version & 0x0800_0000 != 0 { version ^ 0x0800_0000 } else { version };
    let (major, minor, patch) = (number / 1_000_000, number / 10_000 % 100, number / 100 % 100);
    details.set("version", format!("{major}.{minor}.{patch}"));
    let name = &b"internal:"[..];
    if let Some(at) = find(reader.rest(), name) {
        let action = &reader.rest()[at..];
        let end = action.iter().position(|byte| !byte.is_ascii_graphic()).unwrap_or(action.len());
        details.set_text("action", &action[..end]);
    }
    Some(found.with(details))
}

/// ZooKeeper: commands of four letters, their answers, and the first message of a session.
pub(crate) fn zookeeper(payload: &Payload<'_>) -> Option<Identification> {
    const WORDS: [&[u8]; 17] = [
        b"ruok", b"stat", b"mntr", b"conf", b"cons", b"crst", b"dump", b"envi", b"srst", b"srvr",
        b"wchs", b"wchc", b"wchp", b"dirs", b"isro", b"gtmk", b"imok",
    ];
    const NOT_ALLOWED: &[u8] = b" is not executed because it is not in the whitelist.";
    let text = payload.bytes.trim_ascii_end();
    if WORDS.contains(&text) && payload.bytes.len() <= 6 && !payload.is_cut() {
        // Servers of other protocols take words of four letters as well.
        let is_own = matches!(text, b"ruok" | b"imok" | b"mntr" | b"srvr" | b"isro" | b"wchs");
        let mut details = Details::default();
        details.set_text("word", text);
        let reason = "a word of four letters, by which ZooKeeper is asked for its state";
        let found = if is_own {
            Identification::confirmed(Verdict::Zookeeper, reason)
        } else {
            Identification::consistent(Verdict::Zookeeper, reason)
        };
        return Some(found.with(details));
    }
    if let Some(word) = text.strip_suffix(NOT_ALLOWED)
        && WORDS.contains(&word)
    {
        let mut details = Details::default();
        details.set_text("word", word);
        let reason = "a ZooKeeper server that does not answer a word of four letters";
        return Some(Identification::confirmed(Verdict::Zookeeper, reason).with(details));
    }
    if text.starts_with(b"Zookeeper version: ") || text.starts_with(b"zk_version\t") {
        let mut details = Details::default();
        details.set_text("answer", crate::reader::first_line(text));
        let reason = "a ZooKeeper server's answer, with its version";
        return Some(Identification::confirmed(Verdict::Zookeeper, reason).with(details));
    }
    session(payload)
}

/// The request or the response that opens a session.
fn session(payload: &Payload<'_>) -> Option<Identification> {
    const PASSWORD_LEN: u32 = 16;
    let mut reader = Reader::new(payload.bytes);
    let len = reader.be32()? as usize;
    if reader.be32()? != 0 || len + 4 != payload.wire_len {
        return None;
    }
    // A request has the last transaction in front of its timeout.
    let is_request = matches!(len, 44 | 45);
    if !is_request && !matches!(len, 36 | 37) {
        return None;
    }
    let transaction = if is_request { reader.be64()? } else { 0 };
    let timeout = reader.be32()?;
    let session = reader.be64()?;
    if reader.be32()? != PASSWORD_LEN || timeout > 86_400_000 {
        return None;
    }
    let mut details = Details::default();
    details.set("message", if is_request { "connect request" } else { "connect response" });
    details.set("timeout_ms", timeout);
    details.set("session", format!("0x{session:x}"));
    details.set("last_transaction", transaction);
    let reason = "the message that opens a session of ZooKeeper: sizes and version agree";
    Some(Identification::confirmed(Verdict::Zookeeper, reason).with(details))
}

/// A broker's answer to the first request of every client: a number, no error, and the versions of
/// as many APIs as fill the message.
fn kafka_versions(payload: &Payload<'_>) -> Option<Identification> {
    let mut reader = Reader::new(payload.bytes);
    let len = reader.be32()? as usize;
    let _correlation = reader.be32()?;
    let error = reader.be16()?;
    let mut compact = reader;
    let count = reader.be32()? as usize;
    let [first, least, most] = [reader.be16()?, reader.be16()?, reader.be16()?];
    // Since its version 1 there is a time behind, since version 3 there are tags.
    let fills = |count: usize, size: usize, more: usize| len == 6 + more + count * size;
    let is_plain = count <= 128
        && (fills(count, 6, 4) || fills(count, 6, 8))
        && first <= 3
        && least <= most
        && most <= 32;
    let compact_count = usize::from(compact.u8()?).wrapping_sub(1);
    let is_compact = (8..=127).contains(&compact_count)
        && (12 + compact_count * 7..=12 + compact_count * 7 + 64).contains(&len)
        && compact.be16()? <= 3
        && compact.be16()? <= compact.be16()?;
    let is_whole = len + 4 == payload.wire_len;
    (is_whole && error == 0 && (is_plain || is_compact)).then(|| {
        let mut details = Details::default();
        details.set("api", "ApiVersions");
        details.set("response", true);
        let reason = "a Kafka broker's answer: the versions of as many APIs as fill it";
        Identification::confirmed(Verdict::Kafka, reason).with(details)
    })
}

/// Requests to Kafka: size, API, its version, a number, and the client's name.
pub(crate) fn kafka(payload: &Payload<'_>) -> Option<Identification> {
    const APIS: [&str; 23] = [
        "Produce",
        "Fetch",
        "ListOffsets",
        "Metadata",
        "LeaderAndIsr",
        "StopReplica",
        "UpdateMetadata",
        "ControlledShutdown",
        "OffsetCommit",
        "OffsetFetch",
        "FindCoordinator",
        "JoinGroup",
        "Heartbeat",
        "LeaveGroup",
        "SyncGroup",
        "DescribeGroups",
        "ListGroups",
        "SaslHandshake",
        "ApiVersions",
        "CreateTopics",
        "DeleteTopics",
        "DeleteRecords",
        "InitProducerId",
    ];
    const LAST_API: u16 = 80;
    let mut reader = Reader::new(payload.bytes);
    let len = reader.be32()? as usize;
    let (api, version) = (reader.be16()?, reader.be16()?);
    let correlation = reader.be32()?;
    let client_len = reader.be16()?;
    if let Some(found) = kafka_versions(payload) {
        return Some(found);
    }
    // A request goes on in further segments.
    let is_size = (10..=100 << 20).contains(&len) && len + 4 >= payload.wire_len;
    if api > LAST_API || version > 20 || !is_size {
        return None;
    }
    let client = match client_len {
        u16::MAX => &[][..],
        len => reader.take(len.into())?,
    };
    if !is_printable(client) || client.len() > 255 {
        return None;
    }
    // A request that goes on in the next segment takes a name to be distinguished from other sizes.
    if len + 4 != payload.wire_len && client.is_empty() {
        return None;
    }
    let of_size = if len + 4 == payload.wire_len { 16 } else { 0 };
    let of_number = if correlation < 1 << 16 { 14 } else { 0 };
    let of_client = if client.is_empty() { 14 } else { 8 + client.len().min(16) as u32 };
    let reason = "a request to Kafka: size, API, version, and the client's name";
    let bits = 8 + 11 - 8 + of_size + of_number + of_client;
    let found = Identification::graded(Verdict::Kafka, bits, reason)?;
    let mut details = Details::default();
    match APIS.get(usize::from(api)) {
        Some(name) => details.set("api", *name),
        None => details.set("api", api),
    }
    details.set("api_version", version);
    details.set_some_text("client_id", Some(client));
    Some(found.with(details))
}
