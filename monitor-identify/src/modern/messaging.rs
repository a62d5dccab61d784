//! Message brokers: MQTT and AMQP.

use monitor_common::flow::Protocol;

use crate::{Identification, Payload, Verdict, details::Details, reader::Reader};

/// MQTT 3.1, 3.1.1 and 5, §3.1 and §3.2.
pub(crate) fn mqtt(payload: &Payload<'_>) -> Option<Identification> {
    match payload.bytes {
        [0x10, ..] => connect(payload),
        // The flags of an acknowledgement, and whether the connection was accepted.
        [0x20, 2, 0 | 1, code @ 0..=5] if payload.may_be(Protocol::Tcp) => {
            let mut details = Details::default();
            details.set("return_code", *code);
            let reason = "an MQTT broker's answer to a connection";
            Some(Identification::consistent(Verdict::Mqtt, reason).with(details))
        }
        // Version 5 has properties behind it, which fill the rest.
        [0x20, len, 0 | 1, 0 | 0x80..=0xff, properties, ..]
            if payload.may_be(Protocol::Tcp)
                && usize::from(*len) + 2 == payload.wire_len
                && *len >= 3
                && *properties == *len - 3 =>
        {
            let reason = "an MQTT 5 broker's answer to a connection: its sizes agree";
            Some(Identification::consistent(Verdict::Mqtt, reason))
        }
        _ => None,
    }
}

fn connect(payload: &Payload<'_>) -> Option<Identification> {
    let mut reader = Reader::new(payload.bytes);
    reader.u8()?;
    // The remaining length: seven bits a byte, the lowest first.
    let more = reader.rest().iter().take(3).take_while(|byte| **byte & 0x80 != 0).count();
    reader.take(more + 1)?;
    let name = reader.block16()?;
    if !matches!(name, b"MQTT" | b"MQIsdp") {
        return None;
    }
    let mut details = Details::default();
    let level = reader.u8()?;
    details.set("protocol_level", level);
    let _flags = reader.u8()?;
    let _keep_alive = reader.be16()?;
    // Version 5 has properties here, behind their size.
    if level >= 5 {
        reader.block8();
    }
    details.set_some_text("client_id", reader.block16());
    let reason = "an MQTT client's connection with the protocol's name";
    Some(Identification::confirmed(Verdict::Mqtt, reason).with(details))
}

/// AMQP 0-9-1 §4.2.2 and 1.0 §2.2: name, protocol, version.
pub(crate) fn amqp(payload: &Payload<'_>) -> Option<Identification> {
    let [id @ 0..=3, major, minor, revision, ..] = payload.bytes.strip_prefix(b"AMQP")? else {
        return None;
    };
    let mut details = Details::default();
    let version = match (id, major) {
        (0, 0) => format!("{major}-{minor}-{revision}"),
        _ => format!("{major}.{minor}.{revision}"),
    };
    details.set("version", version);
    Some(Identification::confirmed(Verdict::Amqp, "the header of AMQP").with(details))
}
