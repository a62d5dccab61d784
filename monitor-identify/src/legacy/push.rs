//! WSP Push and ConfirmedPush, WAP-230-WSP §8.2.4: what gateways send to handsets, on port 2948.

use monitor_common::flow::Protocol;

use super::{
    agreement::{Agreement, agreement, is_read_by},
    attack, cir,
    content_type::{ContentType, Kind},
    header::{Broken, Headers, application_name, is_of_pushes, length},
    mms, port, provisioning, service,
};
use crate::{
    Grade, Identification, Payload, Verdict,
    details::{Details, shown},
    evidence::Evidence,
    reader::Reader,
};

pub(super) const PUSH: u8 = 0x06;
pub(super) const CONFIRMED_PUSH: u8 = 0x07;

/// Bits of evidence in UDP's port 2948, for a push that does not hold to its end.
const AT_HOME: u32 = 4;

/// A push in a datagram of its own, behind a transaction id.
pub(crate) fn identify(payload: &Payload<'_>) -> Option<Identification> {
    let [tid, pdu @ (PUSH | CONFIRMED_PUSH), rest @ ..] = payload.bytes else { return None };
    if !payload.may_be(Protocol::Udp) {
        return None;
    }
    if let Some(attack) = attack::notiflood(payload) {
        return Some(attack);
    }
    let missing = payload.missing();
    let is_at_home = payload.transport == Some(Protocol::Udp) && payload.has_port(port::PUSH);
    let push = Push::read(rest, missing, is_at_home)?;
    let mut identification = push.judge(payload);
    let mut details = Details::default();
    details.set("pdu", if *pdu == PUSH { "Push" } else { "ConfirmedPush" });
    details.set("tid", *tid);
    push.describe(&mut details);
    details.append(identification.details);
    identification.details = details;
    Some(identification)
}

/// A push for which there is enough evidence.
pub(super) struct Push<'a> {
    content_type: ContentType<'a>,
    headers: Headers<'a>,
    body: &'a [u8],
    /// Bytes of the body on the wire, if the size of the headers leaves one.
    body_len: usize,
    state: State,
    agreement: Agreement,
    pub(super) evidence: Evidence,
}

/// How the structure ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The headers end where their size says.
    Whole,
    /// They may: the capture ends before.
    Cut {
        seen: usize,
        headers_len: usize,
    },
    /// This size is larger than the packet.
    TooLarge(&'static str),
    /// The headers end this many bytes before their size says, where the body begins.
    Short(usize),
    Malformed,
}

impl<'a> Push<'a> {
    /// Reads what follows the type of the PDU. `missing` bytes of it were not captured; it is at home
    /// on the port that handsets take pushes on.
    ///
    /// `None` if too little speaks for a push.
    pub(super) fn read(bytes: &'a [u8], missing: usize, is_at_home: bool) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let headers_len = reader.size()?;
        let rest = reader.rest();
        let on_wire = rest.len() + missing;
        if headers_len == 0 {
            return None;
        }
        let is_too_large = headers_len > on_wire;
        // Packet or capture end before the headers do.
        let is_open = headers_len > rest.len();
        let (region, body) = rest.split_at_checked(headers_len).unwrap_or((rest, &[]));
        let mut region = Reader::new(region);
        let whole = region.rest().len();
        let content_type = content_type(&mut region, is_open)?;
        if content_type.is_too_large {
            // Nothing says any more where the headers end.
            region = Reader::new(rest.get(whole - region.rest().len()..)?);
        }
        let body_len = on_wire.saturating_sub(headers_len);
        let (headers, walked) = Headers::walk(&mut region, body_len);
        // What no header can be is none, wherever the capture ends.
        let is_cut = is_open && (content_type.is_too_large || walked != Err(Broken::Malformed));
        let is_field_too_large = missing == 0
            && walked == Err(Broken::PastEnd)
            && claims_more_than_is_left(region, body);
        let short = (walked == Err(Broken::Malformed) && !is_open && !content_type.is_too_large)
            .then(|| short_by(content_type.kind(), rest, headers_len, region.rest().len()))
            .flatten();
        let state = match walked {
            _ if short.is_some() => State::Short(short.unwrap_or_default()),
            _ if content_type.is_too_large && missing == 0 => State::TooLarge("Content-Type"),
            _ if is_too_large => State::TooLarge("HeadersLen"),
            _ if is_cut => State::Cut { seen: rest.len(), headers_len },
            Ok(()) if !content_type.is_too_large => State::Whole,
            _ if is_field_too_large => State::TooLarge("a header"),
            _ => State::Malformed,
        };
        // Where the size of the headers is wrong, the body is what cannot be a header.
        let body = match state {
            State::Whole => body,
            State::Short(bytes) => rest.get(headers_len - bytes..).unwrap_or_default(),
            State::Cut { .. } => &[],
            State::TooLarge(_) | State::Malformed => region.rest(),
        };
        let (agreement, body_bits) = agreement(content_type.kind(), body);
        // Counting bytes are a document of WBXML of no type: behind a wrong size they prove nothing.
        let is_wrong = matches!(state, State::TooLarge(_) | State::Malformed);
        let is_any = content_type.kind() == Kind::Wbxml && is_wrong;
        let body_bits = if is_any { 0 } else { body_bits };
        // The kind of the PDU.
        let mut evidence = Evidence::bits(7);
        let broken = region.peek().filter(|_| is_field_too_large);
        evidence.add(bits_of_end(state, headers_len == on_wire, broken, is_at_home));
        if is_read_by(content_type.kind(), headers.application_id) {
            evidence.add(4);
        }
        evidence.join(content_type.evidence);
        evidence.join(headers.evidence);
        evidence.add(body_bits);
        let push = Self { content_type, headers, body, body_len, state, agreement, evidence };
        let is_push = match agreement {
            // Behind a field that is too large, it is unknown where the body begins.
            Agreement::Disagrees if is_field_too_large || content_type.is_too_large => {
                evidence.is_enough()
            }
            Agreement::Disagrees => evidence.is_plenty(),
            _ => evidence.is_enough(),
        };
        is_push.then_some(push)
    }

    /// Whether its headers end where their size says.
    pub(super) fn is_whole(&self) -> bool {
        self.state == State::Whole
    }

    /// Says what it is.
    pub(super) fn judge(&self, payload: &Payload<'_>) -> Identification {
        match self.state {
            State::TooLarge(what) => return attack::overflow(payload, what),
            State::Malformed => {
                return Identification::suspect(
                    Verdict::WspPush,
                    "begins as a WSP push, and its headers are malformed",
                );
            }
            State::Cut { seen, headers_len } => {
                let (verdict, _) = self.by_content_type();
                let reason = format!(
                    "a WSP push that is cut by the capture: {seen} of {headers_len} bytes of its \
                     headers were seen, and nothing of its body"
                );
                return Identification::consistent(verdict, reason);
            }
            State::Short(bytes) => {
                let (verdict, _) = self.by_content_type();
                let reason = format!(
                    "a WSP push whose body is what its content type says; the size of its headers \
                     is too large by {bytes}"
                );
                return Identification::consistent(verdict, reason);
            }
            State::Whole => {}
        }
        if self.agreement == Agreement::Disagrees {
            return Identification::consistent(
                Verdict::WspPush,
                "a WSP push whose headers end where their size says; its body is not what its \
                 content type says",
            );
        }
        if self.content_type.kind() == Kind::Mms && self.agreement == Agreement::Agrees {
            return self.judge_message(payload);
        }
        if self.agreement == Agreement::Unknown && self.content_type.kind() != Kind::Other {
            return Identification::consistent(
                Verdict::WspPush,
                "a WSP push whose headers end where their size says; its body is not there, or too \
                 short to be checked",
            );
        }
        let (verdict, reason) = self.by_content_type();
        let is_proven = self.agreement == Agreement::Agrees;
        let grade = if is_proven { Grade::Confirmed } else { Grade::Consistent };
        Identification::new(verdict, grade, reason)
    }

    fn judge_message(&self, payload: &Payload<'_>) -> Identification {
        let message = mms::Message::read(self.body);
        let mut identification = match message.overlong {
            Some(field) => attack::overlong(payload, field),
            None if message.message_type != mms::NOTIFICATION => Identification::confirmed(
                Verdict::WspPush,
                "a WSP push whose headers end where their size says, with a multimedia message \
                 that is no notification",
            ),
            None => Identification::confirmed(
                Verdict::MmsNotification,
                "a WSP push whose headers end where their size says, and its body begins as a \
                 multimedia notification",
            ),
        };
        message.describe(&mut identification.details);
        if message.is_broken && !payload.is_cut() {
            identification.details.set("note", "a field of the message runs past its end");
        }
        identification
    }

    fn by_content_type(&self) -> (Verdict, &'static str) {
        match self.content_type.kind() {
            Kind::Mms => (
                Verdict::MmsNotification,
                "the headers of a WSP push with a multimedia message; the message was not captured",
            ),
            Kind::ServiceIndication => (
                Verdict::WapServiceIndication,
                "a WSP push whose headers end where their size says, with a service indication: an \
                 address that the user is asked to open",
            ),
            Kind::ServiceLoading => (
                Verdict::WapServiceLoading,
                "a WSP push whose headers end where their size says, with a service loading: an \
                 address that the handset opens by itself",
            ),
            Kind::Provisioning => (
                Verdict::OmaProvisioning,
                "a WSP push whose headers end where their size says, with a provisioning document: \
                 settings for the handset",
            ),
            Kind::WvCir => {
                (Verdict::WvCir, "a WSP push with a Wireless Village wake-up (CIR) for a handset")
            }
            Kind::Wbxml | Kind::Text | Kind::Other => {
                (Verdict::WspPush, "a WSP push whose headers end where their size says")
            }
        }
    }

    /// Puts down what its headers and its body say.
    pub(super) fn describe(&self, details: &mut Details) {
        details.set("content_type", self.content_type.name());
        details.set_known("charset", self.content_type.charset.map(charset_name));
        details.set_known("security", self.content_type.security.map(security_name));
        details.set_known("application_id", self.headers.application_id.map(application_name));
        details.set_some_address("initiator_uri", self.headers.initiator_uri);
        details.set_known("push_flag", self.headers.push_flag);
        if let Some(announced) = self.headers.content_length
            && announced != self.body_len as u64
        {
            details.set("announced_content_length", announced);
        }
        details.set("body_bytes", self.body_len);
        if self.agreement == Agreement::Agrees {
            match self.content_type.kind() {
                Kind::ServiceIndication | Kind::ServiceLoading => {
                    service::describe(self.body, details);
                }
                Kind::Provisioning => provisioning::describe(self.body, details),
                Kind::WvCir => cir::describe(self.body, details),
                Kind::Text => details.set_content("text", shown(self.body)),
                // The judge of a message describes it.
                Kind::Mms | Kind::Wbxml | Kind::Other => {}
            }
        }
    }
}

/// Bits of evidence in where a push ends, in the field whose size is too large, and in its port.
fn bits_of_end(state: State, is_to_the_end: bool, broken: Option<u8>, is_at_home: bool) -> u32 {
    let home = if is_at_home { AT_HOME } else { 0 };
    match state {
        // The walk ends where it should.
        State::Whole => 8,
        State::TooLarge(_) => {
            // One size is wrong, that of all headers is not.
            let of_size = if is_to_the_end { 8 } else { 0 };
            let of_field = if broken.is_some_and(is_of_pushes) { 8 } else { 0 };
            of_size + of_field + home
        }
        State::Cut { .. } => home,
        State::Short(_) | State::Malformed => 0,
    }
}

/// How many bytes too many the size of the headers counts, where a walk of them stopped shortly
/// before their end and a body that agrees begins there.
fn short_by(kind: Kind, rest: &[u8], headers_len: usize, left: usize) -> Option<usize> {
    const MOST: usize = 4;
    const ENOUGH: u32 = 16;
    let body = rest.get(headers_len.checked_sub(left)?..)?;
    let (agreement, bits) = agreement(kind, body);
    let is_body = agreement == Agreement::Agrees && bits >= ENOUGH;
    (left <= MOST && is_body && kind != Kind::Text).then_some(left)
}

/// The content type at the start of the headers, which may be `open`: packet or capture end before
/// they do.
fn content_type<'a>(headers: &mut Reader<'a>, is_open: bool) -> Option<ContentType<'a>> {
    let start = *headers;
    match ContentType::read(headers) {
        Err(Broken::PastEnd) if is_open => {
            *headers = start;
            ContentType::beginning(headers).ok()
        }
        read => read.ok(),
    }
}

/// Whether the size in the field at which the walk stopped is larger than all that follows it, not
/// only than the headers.
fn claims_more_than_is_left(mut field: Reader<'_>, body: &[u8]) -> bool {
    let _name = field.u8();
    length(&mut field).is_ok_and(|len| len > field.rest().len() + body.len())
}

fn charset_name(number: u64) -> String {
    match number {
        3 => "us-ascii".to_owned(),
        4 => "iso-8859-1".to_owned(),
        106 => "utf-8".to_owned(),
        1000 => "iso-10646-ucs-2".to_owned(),
        _ => number.to_string(),
    }
}

/// The shared secret that a provisioning document is signed with, OMA-WAP-TS-ProvCont.
const fn security_name(number: u8) -> &'static str {
    match number {
        0 => "NETWPIN",
        1 => "USERPIN",
        2 => "USERNETWPIN",
        _ => "USERPINMAC",
    }
}
