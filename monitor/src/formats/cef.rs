//! Common Event Format, revision 26 (ArcSight, *Implementing ArcSight Common Event Format*).
//!
//! A line has what its dictionary of keys has a place for. The other formats lose nothing.

use serde_json::Value;

use super::fields::{Fields, Level, text_of};

/// Texts and numbers of the device's own: the key, its label, the field.
const CUSTOM: [(&str, &str, &str); 6] = [
    ("cs1", "service", "ghostport.service"),
    ("cs2", "verdict", "ghostport.verdict"),
    ("cs3", "systemd unit", "ghostport.systemd_unit"),
    ("cs4", "container", "container.id"),
    ("cs5", "ATT&CK technique", "ghostport.attack_techniques"),
    ("cs6", "expected", "ghostport.expected"),
];

/// Encodes an event.
pub(super) fn encode(fields: &Fields<'_>, message: Option<&str>) -> String {
    let severity = match fields.level() {
        Level::Info => 3,
        Level::Warning => 6,
        Level::Critical => 9,
    };
    let mut line = format!(
        "CEF:0|ghostport|ghostport|{}|{}|{}|{severity}|",
        header(env!("CARGO_PKG_VERSION")),
        header(fields.kind()),
        header(&fields.title()),
    );
    let mut extension = Extension::default();
    times(&mut extension, fields);
    extension.push("act", fields.text("event.name"));
    let outcome = fields.text("ghostport.result");
    extension.push("outcome", outcome);
    ends(&mut extension, fields);
    process(&mut extension, fields);
    for (key, label, field) in CUSTOM {
        if let Some(value) = fields.get(field) {
            extension.push(key, Some(&*text_of(value)));
            extension.push(&format!("{key}Label"), Some(label));
        }
    }
    if let Some(dormant) = fields.get("ghostport.dormant_for_seconds").and_then(Value::as_f64) {
        extension.push("cn1", Some(&*format!("{dormant:.0}")));
        extension.push("cn1Label", Some("dormant for seconds"));
    }
    extension.push("reason", fields.text("ghostport.reason"));
    extension.push("msg", message);
    line.push_str(&extension.0);
    line
}

/// The pairs of a key and a value.
#[derive(Default)]
struct Extension(String);

impl Extension {
    fn push(&mut self, key: &str, value: Option<&str>) {
        let Some(value) = value else { return };
        if !self.0.is_empty() {
            self.0.push(' ');
        }
        self.0.push_str(key);
        self.0.push('=');
        for char in value.chars() {
            match char {
                '\\' => self.0.push_str("\\\\"),
                '=' => self.0.push_str("\\="),
                '\n' => self.0.push_str("\\n"),
                '\r' => self.0.push_str("\\r"),
                char => self.0.push(char),
            }
        }
    }

    fn push_number(&mut self, key: &str, number: Option<impl ToString>) {
        self.push(key, number.map(|number| number.to_string()).as_deref());
    }
}

fn times(extension: &mut Extension, fields: &Fields<'_>) {
    extension.push_number("rt", fields.milliseconds("time"));
    extension.push_number("cnt", fields.number("ghostport.count"));
    extension.push_number("start", fields.milliseconds("ghostport.first_time"));
    extension.push_number("end", fields.milliseconds("ghostport.last_time"));
    extension.push("dvchost", fields.text("host.name"));
}

fn ends(extension: &mut Extension, fields: &Fields<'_>) {
    extension.push("proto", fields.text("network.transport").map(str::to_uppercase).as_deref());
    let is_outbound = fields.text("network.io.direction").map(|of| of == "transmit");
    extension.push_number("deviceDirection", is_outbound.map(u8::from));
    let interface = if is_outbound == Some(true) {
        "deviceOutboundInterface"
    } else {
        "deviceInboundInterface"
    };
    extension.push(interface, fields.text("network.interface.name"));
    let (from, to) = fields.source_and_destination();
    for (prefix, end) in [("s", from), ("d", to)] {
        // There are keys of their own for IPv6.
        match end.address {
            Some(address) if address.contains(':') => {
                let (number, label) =
                    if prefix == "s" { (2, "Source") } else { (3, "Destination") };
                extension.push(&format!("c6a{number}"), Some(address));
                let label = format!("{label} IPv6 Address");
                extension.push(&format!("c6a{number}Label"), Some(&*label));
            }
            address => extension.push(if prefix == "s" { "src" } else { "dst" }, address),
        }
        extension.push_number(if prefix == "s" { "spt" } else { "dpt" }, end.port);
    }
}

/// A process that holds a socket, or makes a call, is at the destination; one that sends is the source.
fn process(extension: &mut Extension, fields: &Fields<'_>) {
    let side = if fields.kind_within() == "connect" { "s" } else { "d" };
    extension.push(&format!("{side}proc"), fields.text("process.executable.name"));
    extension.push_number(&format!("{side}pid"), fields.number("process.pid"));
    extension.push_number(&format!("{side}uid"), fields.number("process.user.id"));
    extension.push(&format!("{side}user"), fields.text("process.user.name"));
    extension.push("filePath", fields.text("process.executable.path"));
    extension.push("fileHash", fields.text("ghostport.executable_sha256"));
}

/// Text of a field of the header, which is one line.
fn header(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '\\' | '|' => escaped.extend(['\\', char]),
            '\n' | '\r' => escaped.push(' '),
            char => escaped.push(char),
        }
    }
    escaped
}
