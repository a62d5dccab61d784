//! Compressed captures, recognised by their first bytes and not by their names.

use std::io::{self, Read};

use super::error::CaptureError;

/// How a capture is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstandard,
}

impl Compression {
    /// Bytes that are needed to recognise it.
    pub const MAGIC_LEN: usize = 4;

    /// The compression of a file that begins with these bytes; `None` if there is none that is known.
    pub fn of(start: &[u8]) -> Option<Self> {
        match start {
            [0x1f, 0x8b, 8, ..] => Some(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstandard),
            _ => None,
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstandard => "zstd",
        }
    }

    /// Reads what is compressed in `reader`, as a stream.
    ///
    /// # Errors
    /// Where its header is damaged, or its window is larger than memory should hold.
    pub fn decoder<'r>(self, reader: impl Read + 'r) -> Result<Box<dyn Read + 'r>, CaptureError> {
        match self {
            Self::Gzip => Ok(Box::new(flate2::read::MultiGzDecoder::new(reader))),
            Self::Zstandard => {
                let decoder = ruzstd::decoding::StreamingDecoder::new(reader).map_err(|error| {
                    CaptureError::Compression(self.name(), io::Error::other(error.to_string()))
                })?;
                Ok(Box::new(decoder))
            }
        }
    }
}
