//! Service indication and service loading, WAP-167-ServiceInd and WAP-168-ServiceLoad: pushes with
//! an address for the user to open, or for the handset to open by itself.

use super::wbxml::{Document, Token};
use crate::details::Details;

pub(super) const INDICATION_PUBLIC_ID: u8 = 0x05;
pub(super) const INDICATION_NAME: &[u8] = b"-//WAPFORUM//DTD SI 1.0//EN";
pub(super) const LOADING_PUBLIC_ID: u8 = 0x06;
pub(super) const LOADING_NAME: &[u8] = b"-//WAPFORUM//DTD SL 1.0//EN";

/// What an attribute's token says.
enum Attribute {
    /// What to do with the push.
    Action(&'static str),
    /// An address that begins so.
    Address(&'static str),
    Created,
    Expires,
    Id,
    Other,
}

/// Longest address that is put together, in bytes.
const MAX_ADDRESS: usize = 1024;

/// Puts down what an indication or loading says.
pub(super) fn describe(body: &[u8], details: &mut Details) {
    let Some(document) = Document::read(body) else { return };
    let is_loading = document.is(LOADING_PUBLIC_ID, LOADING_NAME);
    let mut attribute = Attribute::Other;
    let mut address: Option<Vec<u8>> = None;
    let mut is_content = false;
    for token in document.tokens() {
        match token {
            Token::Attribute(number) => {
                attribute = meaning(is_loading, number);
                match attribute {
                    Attribute::Action(action) => details.set("action", action),
                    Attribute::Address(start) => address = Some(start.into()),
                    _ => {}
                }
            }
            Token::AttributeValue(number) => {
                append(&attribute, &mut address, domain(number).as_bytes());
            }
            Token::Text(text) if is_content => {
                details.set_some_content("message", Some(text));
                is_content = false;
            }
            Token::Text(text) => match attribute {
                Attribute::Id => details.set_text("id", text),
                _ => append(&attribute, &mut address, text),
            },
            Token::Opaque(bytes) => match attribute {
                Attribute::Created => details.set_known("created", date(bytes)),
                Attribute::Expires => details.set_known("expires", date(bytes)),
                _ => {}
            },
            Token::End => {
                attribute = Attribute::Other;
                is_content = true;
            }
            Token::Element(_) => {}
        }
    }
    details.set_some_address("address", address.as_deref());
}

fn append(attribute: &Attribute, address: &mut Option<Vec<u8>>, part: &[u8]) {
    if let (Attribute::Address(_), Some(address)) = (attribute, address)
        && address.len() + part.len() <= MAX_ADDRESS
    {
        address.extend(part);
    }
}

const fn meaning(is_loading: bool, number: u8) -> Attribute {
    if is_loading {
        return match number {
            0x05 => Attribute::Action("execute-low"),
            0x06 => Attribute::Action("execute-high"),
            0x07 => Attribute::Action("cache"),
            0x08 => Attribute::Address(""),
            0x09 => Attribute::Address("http://"),
            0x0a => Attribute::Address("http://www."),
            0x0b => Attribute::Address("https://"),
            0x0c => Attribute::Address("https://www."),
            _ => Attribute::Other,
        };
    }
    match number {
        0x05 => Attribute::Action("signal-none"),
        0x06 => Attribute::Action("signal-low"),
        0x07 => Attribute::Action("signal-medium"),
        0x08 => Attribute::Action("signal-high"),
        0x09 => Attribute::Action("delete"),
        0x0a => Attribute::Created,
        0x0b => Attribute::Address(""),
        0x0c => Attribute::Address("http://"),
        0x0d => Attribute::Address("http://www."),
        0x0e => Attribute::Address("https://"),
        0x0f => Attribute::Address("https://www."),
        0x10 => Attribute::Expires,
        0x11 => Attribute::Id,
        _ => Attribute::Other,
    }
}

/// Ends of host names that have a token.
const fn domain(number: u8) -> &'static str {
    match number {
        0x85 => ".com/",
        0x86 => ".edu/",
        0x87 => ".net/",
        0x88 => ".org/",
        _ => "",
    }
}

/// A date, of which zeros at the end may be missing: its decimal digits, two a byte.
fn date(bytes: &[u8]) -> Option<String> {
    let mut digits = [0; 7];
    digits.get_mut(..bytes.len())?.copy_from_slice(bytes);
    let is_decimal = |byte: &u8| byte >> 4 < 10 && byte & 15 < 10;
    if bytes.len() < 4 || !digits.iter().all(is_decimal) {
        return None;
    }
    let [century, year, month, day, hour, minute, second] = digits;
    Some(format!(
        "{century:02x}{year:02x}-{month:02x}-{day:02x}T{hour:02x}:{minute:02x}:{second:02x}Z"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_decimal() {
        assert_eq!(date(&[0x20, 0x06, 0x11, 0x30, 0x12]), Some("2006-11-30T12:00:00Z".into()));
        assert_eq!(date(&[0x20, 0x06, 0xbb, 0x30]), None);
        assert_eq!(date(&[0; 8]), None);
    }
}
