//! The hello of a client or a server, RFC 8446 §4.1.

use serde_json::Value;

use crate::{
    details::{Details, shown},
    reader::Reader,
};

pub(super) const CLIENT_HELLO: u8 = 1;
pub(super) const SERVER_HELLO: u8 = 2;
/// Bytes of a hello with nothing in it that could be left out.
pub(super) const SMALLEST_HELLO: u32 = 38;

/// Extensions and names that are put down.
const MAX_EXTENSIONS: usize = 64;
const MAX_PROTOCOLS: usize = 8;

/// The "random" bytes of Nmap's probes, behind a time of four bytes; `nmap-service-probes`.
const NMAP_RANDOM: &[u8] = b"random1random2random3random4";

/// Whether messages come in a stream or in datagrams, whose hello has a cookie.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Flavour {
    Stream,
    Datagram,
}

/// What a hello says, as far as it was captured.
pub(super) struct Hello<'a> {
    pub(super) details: Details,
    random: &'a [u8],
}

impl<'a> Hello<'a> {
    /// A hello of which nothing has been read.
    pub(super) fn new() -> Self {
        Self { details: Details::default(), random: &[] }
    }

    pub(super) fn is_nmap(&self) -> bool {
        self.random.get(4..) == Some(NMAP_RANDOM)
    }

    /// The fields in front of the cipher suites must be there; what follows may be cut.
    pub(super) fn client(&mut self, reader: &mut Reader<'a>, flavour: Flavour) -> Option<()> {
        let version = self.version_and_random(reader)?;
        let session = reader.block8()?;
        if session.len() > 32 {
            return None;
        }
        if flavour == Flavour::Datagram {
            reader.block8()?;
        }
        let suites_len = reader.be16()?;
        if suites_len == 0 || !suites_len.is_multiple_of(2) {
            return None;
        }
        self.details.set("version", version);
        self.details.set("cipher_suites", suites_len / 2);
        let _ = self.rest_of_client(reader, suites_len);
        Some(())
    }

    fn rest_of_client(&mut self, reader: &mut Reader<'a>, suites_len: u16) -> Option<()> {
        reader.take(suites_len.into())?;
        reader.block8()?;
        self.extensions(reader)
    }

    pub(super) fn server(&mut self, reader: &mut Reader<'a>) -> Option<()> {
        let version = self.version_and_random(reader)?;
        let session = reader.block8()?;
        if session.len() > 32 {
            return None;
        }
        let suite = reader.be16()?;
        self.details.set("version", version);
        self.details.set("cipher_suite", format!("0x{suite:04x}"));
        if reader.u8().is_some() {
            let _ = self.extensions(reader);
        }
        Some(())
    }

    fn version_and_random(&mut self, reader: &mut Reader<'a>) -> Option<&'static str> {
        let [major, minor] = reader.array()?;
        if !matches!((major, minor), (3, 0..=4) | (0xfe, 0xff | 0xfd | 0xfc) | (1, 0)) {
            return None;
        }
        self.random = reader.take(32)?;
        Some(version_name(major, minor))
    }

    fn extensions(&mut self, reader: &mut Reader<'a>) -> Option<()> {
        const SERVER_NAME: u16 = 0;
        const ALPN: u16 = 16;
        const SUPPORTED_VERSIONS: u16 = 43;
        let _len = reader.be16()?;
        for _ in 0..MAX_EXTENSIONS {
            let kind = reader.be16()?;
            let body = reader.block16()?;
            match kind {
                SERVER_NAME => self.details.set_some_text("server_name", server_name(body)),
                ALPN => self.details.set_known("alpn", alpn(body)),
                SUPPORTED_VERSIONS if offers_1_3(body) => {
                    self.details.set("supports", "TLS 1.3");
                }
                _ => {}
            }
        }
        None
    }
}

/// RFC 6066 §3.
fn server_name(body: &[u8]) -> Option<&[u8]> {
    let mut names = Reader::new(Reader::new(body).block16()?);
    const HOST_NAME: u8 = 0;
    if names.u8()? != HOST_NAME {
        return None;
    }
    names.block16()
}

/// RFC 7301 §3.1.
fn alpn(body: &[u8]) -> Option<Vec<Value>> {
    let mut names = Reader::new(Reader::new(body).block16()?);
    let protocols = std::iter::from_fn(|| names.block8()).take(MAX_PROTOCOLS);
    Some(protocols.map(|name| shown(name).into()).collect())
}

/// RFC 8446 §4.2.1: a list from a client, one version from a server.
fn offers_1_3(body: &[u8]) -> bool {
    let list = if body.len().is_multiple_of(2) { body } else { &body[1..] };
    list.as_chunks().0.contains(&[3, 4])
}

pub(super) const fn version_name(major: u8, minor: u8) -> &'static str {
    match (major, minor) {
        (3, 0) => "SSL 3.0",
        (3, 1) => "TLS 1.0",
        (3, 2) => "TLS 1.1",
        (3, 3) => "TLS 1.2",
        (3, _) => "TLS 1.3",
        (1, _) => "DTLS 1.0 of old OpenSSL",
        (_, 0xff) => "DTLS 1.0",
        (_, 0xfd) => "DTLS 1.2",
        _ => "DTLS 1.3",
    }
}
