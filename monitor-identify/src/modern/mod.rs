//! Protocols of today, attackers and scanners.

use crate::signature::{Signature, first};

mod bittorrent;
mod cache;
mod calls;
mod dns;
mod games;
mod json;
mod mail;
mod messaging;
mod mongodb;
mod ntp;
mod quic;
mod remote;
mod shell;
mod snmp;
mod sql;
mod tls;
mod tunnel;
mod web;
mod windows;

/// The most specific first: long magic numbers, then sizes that must agree, then words.
pub(crate) const SIGNATURES: &[Signature] = &[
    Signature::either(&[0, b'P'], web::http2),
    Signature::either(b"GPHOCDTNMSR", web::http),
    Signature::either(&[21, 22], tls::tls),
    Signature::udp(&[21, 22], tls::dtls),
    Signature::either(b"S", shell::ssh),
    Signature::either(first::UPPER, calls::sip),
    Signature::either(&first::range::<0x40>(0), calls::stun),
    Signature::either(&[0, 0x13, 0x41, b'd'], bittorrent::identify),
    Signature::udp(&[1, 2, 5, 6, 7, 8, 0x1c], games::raknet),
    Signature::either(&[0x10, 0x20], messaging::mqtt),
    Signature::either(b"A", messaging::amqp),
    Signature::either(b"R", remote::vnc),
    Signature::either(b"J", remote::java_rmi),
    Signature::either(b"CASO", shell::adb),
    Signature::either(&[0], windows::smb),
    Signature::tcp(&[3], windows::rdp),
    Signature::tcp(first::ANY, mongodb::identify),
    Signature::tcp(&[0, b'R', b'E'], sql::postgresql),
    Signature::tcp(first::ANY, sql::mysql),
    Signature::udp(first::HIGH, quic::identify),
    Signature::udp(&[1, 2, 3], tunnel::wireguard),
    Signature::either(&[0x30], snmp::identify),
    Signature::either(first::ANY, cache::memcached),
    Signature::tcp(first::PRINTABLE, cache::redis),
    Signature::tcp(first::ANY, games::minecraft),
    Signature::tcp(&[4, 5], tunnel::socks),
    Signature::tcp(&[0xff], shell::telnet),
    Signature::tcp(b"2EH", mail::smtp),
    Signature::tcp(b"2U", mail::ftp),
    Signature::udp(first::ANY, ntp::identify),
    Signature::either(first::ANY, dns::identify),
    Signature::tcp(first::HIGH, tls::ssl2),
    Signature::either(b"{[ \t\r\n\x0c", json::identify),
];
