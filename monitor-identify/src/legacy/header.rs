//! WSP headers, WAP-230-WSP §8.4: a name and a value, the first byte of which says how long it is.

use crate::{
    details::named,
    evidence::Evidence,
    reader::{Reader, is_printable},
};

/// A value as it is on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// One byte of which seven bits count.
    Short(u8),
    /// Text up to its terminating zero.
    Text(&'a [u8]),
    /// Bytes behind their length.
    Data(&'a [u8]),
}

/// How a structure is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// It goes on behind the end: a size is larger than what is left, or a text has no zero.
    PastEnd,
    /// Something else.
    Malformed,
}

impl<'a> Value<'a> {
    /// Reads a value.
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, Broken> {
        let first = reader.peek().ok_or(Broken::PastEnd)?;
        match first {
            0x80.. => {
                reader.u8();
                Ok(Self::Short(first & 0x7f))
            }
            0x20..=0x7f => {
                let text = reader.text_to_nul().ok_or(Broken::PastEnd)?;
                // A quote stands before text that would be mistaken for a number.
                Ok(Self::Text(text.strip_prefix(&[0x7f]).unwrap_or(text)))
            }
            // An empty text.
            0 => {
                reader.u8();
                Ok(Self::Text(&[]))
            }
            _ => {
                let len = length(reader)?;
                reader.take(len).map(Self::Data).ok_or(Broken::PastEnd)
            }
        }
    }

    /// The number that it stands for: a short or a long integer of at most eight bytes.
    pub(super) fn number(self) -> Option<u64> {
        match self {
            Self::Short(value) => Some(value.into()),
            Self::Data(bytes) if matches!(bytes.len(), 1..=8) => {
                Some(bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
            }
            _ => None,
        }
    }

    pub(super) const fn text(self) -> Option<&'a [u8]> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Value-length, §8.4.2.2: a byte up to 30, or 31 and a variable-length integer.
pub(super) fn length(reader: &mut Reader<'_>) -> Result<usize, Broken> {
    match reader.u8().ok_or(Broken::PastEnd)? {
        short @ ..=0x1e => Ok(short.into()),
        0x1f => {
            // Five bytes are always enough to end a size, or to see that it is none.
            let is_short = reader.rest().len() < 5;
            reader.size().ok_or(if is_short { Broken::PastEnd } else { Broken::Malformed })
        }
        _ => Err(Broken::Malformed),
    }
}

/// The header fields that pushes have, as far as they were found.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Headers<'a> {
    /// Which application of the handset it is for.
    pub(super) application_id: Option<Value<'a>>,
    /// Bits: the initiator is authenticated, the content trusted, this the last push.
    pub(super) push_flag: Option<u8>,
    /// What the sender says is the length of the body, in bytes.
    pub(super) content_length: Option<u64>,
    /// Who made the push.
    pub(super) initiator_uri: Option<&'a [u8]>,
    /// What a client or server says of itself.
    pub(super) user_agent: Option<&'a [u8]>,
    /// Fields of any name.
    pub(super) count: u32,
    /// How much speaks for this being headers.
    pub(super) evidence: Evidence,
}

/// Names of fields, §8.4.2.6 and table 39, with the bit that marks a number.
mod name {
    pub(super) const CONTENT_LENGTH: u8 = 0x8d;
    pub(super) const SERVER: u8 = 0xa6;
    pub(super) const USER_AGENT: u8 = 0xa9;
    pub(super) const APPLICATION_ID: u8 = 0xaf;
    pub(super) const INITIATOR_URI: u8 = 0xb1;
    pub(super) const PUSH_FLAG: u8 = 0xb4;
    pub(super) const ENCODING_VERSION: u8 = 0xc3;
    pub(super) const LAST_ASSIGNED: u8 = 0xc7;
}

impl<'a> Headers<'a> {
    /// Walks the fields to the end of the reader, or to a broken one: there the reader stays, and
    /// what was found before is kept.
    pub(super) fn walk(reader: &mut Reader<'a>, body_len: usize) -> (Self, Result<(), Broken>) {
        let mut headers = Self::default();
        while !reader.is_empty() {
            let before = *reader;
            if let Err(broken) = headers.field(reader, body_len) {
                *reader = before;
                return (headers, Err(broken));
            }
        }
        (headers, Ok(()))
    }

    fn field(&mut self, reader: &mut Reader<'a>, body_len: usize) -> Result<(), Broken> {
        let number = reader.peek().ok_or(Broken::Malformed)?;
        if number < 0x80 {
            return self.text_field(reader);
        }
        reader.u8();
        // What follows is the number of a page of names, which no sender ever used.
        if number > name::LAST_ASSIGNED {
            return Err(Broken::Malformed);
        }
        let value = Value::read(reader)?;
        if value.text().is_some_and(|text| text.iter().any(|byte| *byte < 0x20)) {
            return Err(Broken::Malformed);
        }
        self.count += 1;
        if number == name::APPLICATION_ID && self.application_id.is_some() {
            return Err(Broken::Malformed);
        }
        // A long walk over noise meets one of these names sooner or later: they count less than
        // their bits.
        let bits = match (number, value) {
            (name::APPLICATION_ID, Value::Short(id)) if application(id).is_some() => 12,
            (name::APPLICATION_ID, Value::Short(_)) => 4,
            // Its length and its number are right as well.
            (name::APPLICATION_ID, Value::Data([_, _])) if is_known_long(value) => 22,
            (name::APPLICATION_ID, Value::Data(id)) if matches!(id.len(), 1..=4) => 8,
            (name::APPLICATION_ID, Value::Text(id)) if is_address(id) => 16,
            (name::PUSH_FLAG, Value::Short(flags)) if flags <= 7 => 9,
            (name::CONTENT_LENGTH, _) if value.number() == Some(body_len as u64) => 14,
            (name::CONTENT_LENGTH, _) if value.number().is_some() => 6,
            (name::INITIATOR_URI, Value::Text(uri)) if is_address(uri) => 16,
            // Senders put names and telephone numbers there as well.
            (name::INITIATOR_URI, Value::Text(text)) if is_printable(text) && text.len() > 2 => {
                6 + text.len().min(4) as u32
            }
            (name::ENCODING_VERSION, Value::Short(_)) => 3,
            (name::USER_AGENT | name::SERVER, Value::Text(text)) if is_agent(text) => 12,
            (name::APPLICATION_ID | name::PUSH_FLAG | name::CONTENT_LENGTH, _)
            | (name::INITIATOR_URI | name::ENCODING_VERSION, _) => return Err(Broken::Malformed),
            // A number and a length that fit.
            _ => 1,
        };
        self.evidence.add(bits);
        match number {
            name::APPLICATION_ID => self.application_id = Some(value),
            name::CONTENT_LENGTH => self.content_length = value.number(),
            name::INITIATOR_URI => self.initiator_uri = value.text(),
            name::USER_AGENT | name::SERVER => self.user_agent = value.text(),
            name::PUSH_FLAG => self.push_flag = value.number().map(|flags| flags as u8),
            _ => {}
        }
        Ok(())
    }

    /// A field whose name is text; so is its value.
    fn text_field(&mut self, reader: &mut Reader<'a>) -> Result<(), Broken> {
        let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
        let Some(name) = reader.text_to_nul() else {
            let may_go_on = reader.rest().iter().all(is_of_name);
            return Err(if may_go_on { Broken::PastEnd } else { Broken::Malformed });
        };
        if name.len() < 2 || !name.iter().all(is_of_name) {
            return Err(Broken::Malformed);
        }
        let value = reader.text_to_nul().ok_or(Broken::PastEnd)?;
        if value.iter().any(|byte| *byte < 0x20) {
            return Err(Broken::Malformed);
        }
        self.count += 1;
        self.evidence.join(Evidence::of_text(name));
        Ok(())
    }
}

/// Whether it is the name of a field that pushes have.
pub(super) const fn is_of_pushes(name: u8) -> bool {
    matches!(
        name,
        name::CONTENT_LENGTH
            | name::APPLICATION_ID
            | name::INITIATOR_URI
            | name::PUSH_FLAG
            | name::ENCODING_VERSION
    )
}

fn is_address(text: &[u8]) -> bool {
    is_printable(text) && text.contains(&b':') && text.len() > 5
}

fn is_agent(text: &[u8]) -> bool {
    is_printable(text) && text.len() > 3
}

/// Applications that pushes are for, from the registry of the Open Mobile Naming Authority.
const APPLICATIONS: [&str; 11] = [
    "x-wap-application:*",
    "x-wap-application:push.sia",
    "x-wap-application:wml.ua",
    "x-wap-application:wta.ua",
    "x-wap-application:mms.ua",
    "x-wap-application:push.syncml",
    "x-wap-application:loc.ua",
    "x-wap-application:syncml.dm",
    "x-wap-application:drm.ua",
    "x-wap-application:emn.ua",
    "x-wap-application:wv.ua",
];

/// Applications with numbers above those.
const LONG_APPLICATIONS: [(u64, &str); 18] = [
    (0x0010, "x-oma-application:ulp.ua"),
    (0x8000, "x-wap-microsoft:localcontent.ua"),
    (0x8001, "x-wap-microsoft:IMclient.ua"),
    (0x8002, "x-wap-docomo:imode.mail.ua"),
    (0x8003, "x-wap-docomo:imode.mr.ua"),
    (0x8004, "x-wap-docomo:imode.mf.ua"),
    (0x8005, "x-motorola:location.ua"),
    (0x8006, "x-motorola:now.ua"),
    (0x8007, "x-motorola:otaprov.ua"),
    (0x8008, "x-motorola:browser.ua"),
    (0x8009, "x-motorola:splash.ua"),
    (0x800b, "x-wap-nai:mvsw.command"),
    (0x8010, "x-wap-openwave:iota.ua"),
    (0x9000, "x-wap-docomo:imode.mail2.ua"),
    (0x9001, "x-oma-nec:otaprov.ua"),
    (0x9002, "x-oma-nokia:call.ua"),
    (0x9003, "x-oma-coremobility:sqa.ua"),
    (0x9010, "x-oma-docomo:xmd.mail.ua"),
];

fn application(id: u8) -> Option<&'static str> {
    APPLICATIONS.get(usize::from(id)).copied().or_else(|| long_application(id.into()))
}

fn long_application(id: u64) -> Option<&'static str> {
    LONG_APPLICATIONS.iter().find(|(known, _)| *known == id).map(|(_, name)| *name)
}

/// Whether it is the number of an application, in two bytes.
fn is_known_long(value: Value<'_>) -> bool {
    value.number().is_some_and(|id| long_application(id).is_some())
}

/// The application that an id stands for.
pub(super) fn application_name(id: Value<'_>) -> String {
    match (id, id.number()) {
        (Value::Text(text), _) => crate::details::shown(text),
        (_, Some(number @ 0..=0x7f)) => named(application(number as u8), number as u8).into_owned(),
        (_, Some(number)) => {
            long_application(number).map_or_else(|| format!("0x{number:x}"), str::to_owned)
        }
        (_, None) => "unreadable".to_owned(),
    }
}
