//! Provisioning documents, OMA-WAP-TS-ProvCont: pushes that change the settings of a handset, and
//! with them where its traffic goes.

use serde_json::Value;

use super::wbxml::{Document, Token};
use crate::details::{Details, shown};

pub(super) const PUBLIC_ID: u8 = 0x0b;
pub(super) const NAME: &[u8] = b"-//WAPFORUM//DTD PROV 1.0//EN";

/// Settings that are put down.
const MAX_SETTINGS: usize = 32;

/// Puts down what a document sets, in its order: `[GROUP]`, then `NAME=value`.
pub(super) fn describe(body: &[u8], details: &mut Details) {
    let Some(document) = Document::read(body).filter(|document| document.is(PUBLIC_ID, NAME))
    else {
        return;
    };
    let mut settings: Vec<String> = Vec::new();
    let mut tokens = document.tokens();
    while let Some(token) = tokens.next() {
        if settings.len() == MAX_SETTINGS {
            break;
        }
        match token {
            Token::Attribute(number) => match meaning(tokens.page, number) {
                Attribute::Name(name) => settings.push(name.to_owned()),
                Attribute::NameFollows => settings.push(String::new()),
                Attribute::Group(name) => settings.push(format!("[{name}]")),
                Attribute::Value => append(&mut settings, "="),
                Attribute::Other => {}
            },
            Token::AttributeValue(number) => append(&mut settings, value(number)),
            Token::Text(text) => append(&mut settings, &shown(text)),
            Token::Opaque(_) | Token::Element(_) | Token::End => {}
        }
    }
    if !settings.is_empty() {
        let settings = settings.iter().map(|setting| Value::from(without_secret(setting)));
        details.set_content("settings", settings.collect::<Vec<_>>());
    }
}

fn append(settings: &mut [String], part: &str) {
    if let Some(last) = settings.last_mut() {
        last.push_str(part);
    }
}

/// Passwords are left out: an operator of ports does not need them.
fn without_secret(setting: &str) -> String {
    const SECRETS: [&str; 5] = ["AUTHSECRET", "AAUTHSECRET", "PXAUTH-PW", "BASAUTH-PW", "PROXY-PW"];
    match setting.split_once('=') {
        Some((name, _)) if SECRETS.contains(&name) => format!("{name}=(not shown)"),
        _ => setting.to_owned(),
    }
}

enum Attribute {
    /// A parameter's name.
    Name(&'static str),
    /// A parameter whose name is spelt out.
    NameFollows,
    /// A parameter's value.
    Value,
    /// The kind of a group of parameters.
    Group(&'static str),
    Other,
}

const fn meaning(page: u8, number: u8) -> Attribute {
    match (page, number) {
        (_, 0x05) => Attribute::NameFollows,
        (_, 0x06) => Attribute::Value,
        (0, 0x07..=0x23) => Attribute::Name(NAMES[number as usize - 0x07]),
        (0, 0x51..=0x5b) => Attribute::Group(GROUPS[number as usize - 0x51]),
        (1, 0x2e..=0x3a) => Attribute::Name(APPLICATION_NAMES[number as usize - 0x2e]),
        (1, 0x07) => Attribute::Name("NAME"),
        (1, 0x1c) => Attribute::Name("STARTPAGE"),
        (1, 0x22) => Attribute::Name("TO-NAPID"),
        (1, 0x23) => Attribute::Name("PORTNBR"),
        (1, 0x24) => Attribute::Name("SERVICE"),
        (1, 0x53) => Attribute::Group("PORT"),
        (1, 0x55..=0x59) => Attribute::Group(APPLICATION_GROUPS[number as usize - 0x55]),
        _ => Attribute::Other,
    }
}

/// Parameters of code page 0, from 0x07.
const NAMES: [&str; 29] = [
    "NAME",
    "NAP-ADDRESS",
    "NAP-ADDRTYPE",
    "CALLTYPE",
    "VALIDUNTIL",
    "AUTHTYPE",
    "AUTHNAME",
    "AUTHSECRET",
    "LINGER",
    "BEARER",
    "NAPID",
    "COUNTRY",
    "NETWORK",
    "INTERNET",
    "PROXY-ID",
    "PROXY-PROVIDER-ID",
    "DOMAIN",
    "PROVURL",
    "PXAUTH-TYPE",
    "PXAUTH-ID",
    "PXAUTH-PW",
    "STARTPAGE",
    "BASAUTH-ID",
    "BASAUTH-PW",
    "PUSHENABLED",
    "PXADDR",
    "PXADDRTYPE",
    "TO-NAPID",
    "PORTNBR",
];

/// Groups of code page 0, from 0x51.
const GROUPS: [&str; 11] = [
    "PXLOGICAL",
    "PXPHYSICAL",
    "PORT",
    "VALIDITY",
    "NAPDEF",
    "BOOTSTRAP",
    "VENDORCONFIG",
    "CLIENTIDENTITY",
    "PXAUTHINFO",
    "NAPAUTHINFO",
    "ACCESS",
];

/// Parameters of code page 1, from 0x2e.
const APPLICATION_NAMES: [&str; 13] = [
    "AACCEPT",
    "AAUTHDATA",
    "AAUTHLEVEL",
    "AAUTHNAME",
    "AAUTHSECRET",
    "AAUTHTYPE",
    "ADDR",
    "ADDRTYPE",
    "APPID",
    "APROTOCOL",
    "PROVIDER-ID",
    "TO-PROXY",
    "URI",
];

/// Groups of code page 1, from 0x55.
const APPLICATION_GROUPS: [&str; 5] =
    ["APPLICATION", "APPADDR", "APPAUTH", "CLIENTIDENTITY", "RESOURCE"];

/// Values that have a token, as far as settings of the network have them.
const fn value(number: u8) -> &'static str {
    match number {
        0x85 => "IPV4",
        0x86 => "IPV6",
        0x87 => "E164",
        0x88 => "ALPHA",
        0x89 => "APN",
        0x9a => "PAP",
        0x9b => "CHAP",
        0xaa => "GSM-CSD",
        0xab => "GSM-GPRS",
        _ => "?",
    }
}
