//! What is there today.
//!
//! Every signature looks at the first bytes, then at as much structure as the payload has.

use super::Signature;

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

/// The most specific first: those with long magic numbers, those with sizes that must agree, those
/// that are words.
pub(super) const SIGNATURES: &[Signature] = &[
    web::http2,
    web::http,
    tls::tls,
    tls::dtls,
    shell::ssh,
    calls::sip,
    calls::stun,
    bittorrent::identify,
    games::raknet,
    messaging::mqtt,
    messaging::amqp,
    remote::vnc,
    remote::java_rmi,
    shell::adb,
    windows::smb,
    windows::rdp,
    mongodb::identify,
    sql::postgresql,
    sql::mysql,
    quic::identify,
    tunnel::wireguard,
    snmp::identify,
    cache::memcached,
    cache::redis,
    games::minecraft,
    tunnel::socks,
    shell::telnet,
    mail::smtp,
    mail::ftp,
    ntp::identify,
    dns::identify,
    tls::ssl2,
    json::identify,
];
