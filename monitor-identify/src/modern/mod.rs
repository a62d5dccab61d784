//! Protocols of today, attackers and scanners.

use crate::signature::{Signature, first};

mod ber;
mod bittorrent;
mod brokers;
mod cache;
mod calls;
mod chains;
mod chat;
mod clusters;
mod command_line;
mod dcerpc;
mod devices;
mod dns;
mod drda;
mod games;
mod grid;
mod implants;
mod industrial;
mod java;
mod json;
mod kerberos;
mod ldap;
mod mail;
mod media;
mod mongodb;
mod netbios;
mod ntp;
mod operations;
mod quic;
mod remote;
mod rpc;
mod shell;
mod snmp;
mod sql;
mod tds;
mod telecoms;
mod telephony;
mod tls;
mod tns;
mod tpkt;
mod tunnel;
mod vpn;
mod web;
mod windows;

/// The most specific first: long magic numbers, then sizes that must agree, then words.
pub(crate) const SIGNATURES: &[Signature] = &[
    // A document that begins with its bracket is recognised at once.
    Signature::either(b"{[", json::identify),
    // Magic numbers and words that nothing else begins with.
    Signature::either(&[0, b'P'], web::http2),
    Signature::udp(b"MNH", devices::ssdp),
    Signature::either(b"RODPSTGA", media::rtsp),
    Signature::either(b"\0\r", web::http),
    Signature::either(first::UPPER, web::http),
    Signature::either(&first::range::<5>(20), tls::tls),
    Signature::udp(&first::range::<7>(20), tls::dtls),
    Signature::either(b"S", shell::ssh),
    Signature::either(first::UPPER, calls::sip),
    Signature::either(b"\r", calls::sip),
    Signature::udp(b"ECMDRNA12345", media::mgcp),
    Signature::either(&first::range::<0x40>(0), calls::stun),
    Signature::udp(&[0xff], calls::multiplexed_stun),
    Signature::either(&[0, 0x13, b'd', b'B', 0x01, 0x11, 0x21, 0x31, 0x41], bittorrent::identify),
    Signature::udp(first::ANY, games::raknet),
    Signature::udp(&[0xff], games::source_query),
    Signature::udp(first::ANY, windows::rdp_over_udp),
    Signature::tcp(&[0x10, 0x20, 0xc0, 0xd0], brokers::mqtt),
    Signature::tcp(
        &[1, 2, 3, 4, 5, 0x41, 0x42, 0x81, 0x82, 0x83, 0x84, 0x85, 0xc1, 0xc2],
        clusters::cassandra,
    ),
    Signature::tcp(&[0, 1, 2, 3, 8, b'A'], brokers::amqp),
    Signature::tcp(b"ICPSMH-", brokers::nats),
    Signature::tcp(b"SCUMREDANB", brokers::stomp),
    Signature::tcp(&[0xff], brokers::zmtp),
    Signature::tcp(b"R", remote::vnc),
    Signature::tcp(b"JN", java::java_rmi),
    Signature::tcp(b"J", java::jdwp),
    Signature::tcp(&[0x12, b'A'], java::ajp13),
    Signature::tcp(b"tH", java::t3),
    Signature::tcp(b"CASO0", shell::adb),
    Signature::tcp(first::ANY, implants::meterpreter),
    Signature::tcp(&first::range::<0x5e>(0x21), implants::gh0st),
    Signature::tcp(b"@", rpc::rsync),
    Signature::tcp(b"0", rpc::git),
    Signature::tcp(b"G", rpc::giop),
    Signature::tcp(b"E", clusters::elasticsearch),
    Signature::tcp(b"Z", operations::zabbix),
    Signature::tcp(b"HAERMOC", industrial::opcua),
    Signature::either(&[0x05], grid::dnp3),
    Signature::either(
        &[0xf9, 0x0b, 0x1c, 0xfa, 0x0a, 0xfb, 0xc0, 0xe3, 0xbf, 0x24],
        chains::bitcoin,
    ),
    Signature::tcp(&[0xff], telecoms::bgp),
    Signature::tcp(&[0], vpn::pptp),
    // Structures whose sizes must agree.
    Signature::tcp(&[0], windows::smb),
    Signature::tcp(&[3], telephony::h323),
    Signature::udp(first::ANY, telephony::h323),
    Signature::tcp(&[3], tpkt::identify),
    Signature::tcp(&first::range::<5>(0x81), netbios::sessions),
    Signature::udp(first::ANY, netbios::names),
    Signature::udp(&first::range::<7>(0x10), netbios::datagrams),
    Signature::either(&[4, 5], dcerpc::identify),
    Signature::either(&[0x30], snmp::identify),
    Signature::either(&[0x30], ldap::identify),
    Signature::tcp(&[0], ldap::protected),
    Signature::either(
        &[0, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f, 0x74, 0x75, 0x76, 0x7e],
        kerberos::identify,
    ),
    Signature::tcp(first::ANY, mongodb::identify),
    Signature::tcp(b"\0REQSNG", sql::postgresql),
    Signature::tcp(first::ANY, sql::mysql),
    Signature::tcp(&first::range::<18>(1), tds::identify),
    Signature::udp(&[2, 3, 4, 5], tds::resolution),
    Signature::tcp(&[0, 1, 2], tns::identify),
    Signature::tcp(&[0, 1, 2, 3, 4], drda::identify),
    Signature::tcp(&[0], clusters::zookeeper),
    Signature::tcp(&[0], clusters::kafka),
    Signature::tcp(first::PRINTABLE, clusters::zookeeper),
    Signature::either(&[0, 0x80, 0x82], rpc::thrift),
    Signature::tcp(&[0], telecoms::smpp),
    Signature::tcp(&[1], telecoms::diameter),
    Signature::tcp(&[0xc0, 0xc1], telecoms::tacacs),
    Signature::tcp(first::ANY, industrial::modbus),
    Signature::tcp(&[0x68], grid::iec104),
    Signature::either(&[0, 0x02, 0x04, 0x63, 0x64, 0x65, 0x66, 0x6f, 0x70], industrial::enip),
    Signature::udp(&[0x81, 0x82], industrial::bacnet),
    Signature::tcp(&[b'l', b'B', 0, 1, 2], remote::x11),
    Signature::tcp(first::ANY, telephony::skinny),
    Signature::udp(&[6], devices::ipmi),
    Signature::udp(&[0], devices::tftp),
    Signature::udp(&first::range::<15>(1), devices::dhcp),
    Signature::either(first::ANY, rpc::sunrpc),
    Signature::udp(first::ANY, vpn::ike),
    Signature::either(first::ANY, vpn::openvpn),
    Signature::udp(&[1, 2, 3, 4], vpn::wireguard),
    Signature::udp(first::ANY, quic::identify),
    Signature::udp(&[0], operations::netflow),
    Signature::udp(&first::range::<0x40>(0), telecoms::radius),
    Signature::udp(&first::range::<0x50>(0x0e), telecoms::gtp),
    Signature::udp(&first::range::<0x40>(0x80), media::rtcp),
    Signature::either(first::ANY, chains::ethereum),
    // Lines of text.
    Signature::either(first::ANY, cache::memcached),
    Signature::tcp(first::PRINTABLE, chat::irc),
    Signature::tcp(b"<", chat::xmpp),
    Signature::either(b"<0123456789", operations::syslog),
    Signature::tcp(b"#clnfvq", operations::munin),
    Signature::tcp(first::PRINTABLE, mail::imap),
    Signature::tcp(first::PRINTABLE, mail::pop3),
    Signature::tcp(first::PRINTABLE, cache::redis),
    Signature::tcp(b"254EHLMRQNDSVAehlmrqndsva", mail::smtp),
    Signature::tcp(first::PRINTABLE, mail::nntp),
    Signature::tcp(b"12345UPASFETCRLNQMDuplcrs", mail::ftp),
    // Structures that say little.
    Signature::tcp(first::ANY, games::minecraft),
    Signature::tcp(&[0, 4, 5], tunnel::socks),
    Signature::tcp(&[0xff], shell::telnet),
    Signature::either(first::ANY, dns::identify),
    Signature::udp(first::ANY, ntp::identify),
    Signature::tcp(&first::range::<14>(0x30), brokers::mqtt),
    Signature::tcp(&[0x40, 0x50, 0x62, 0x70, 0x82, 0xa2, 0xe0], brokers::mqtt),
    Signature::tcp(&[0x81], web::frames),
    Signature::tcp(first::HIGH, tls::ssl2),
    Signature::either(b" \t\r\n\x0c", json::identify),
    Signature::udp(&first::range::<0x40>(0x40), devices::coap),
    Signature::udp(&[0x80, 0x90], media::rtp),
    Signature::either(first::ANY, command_line::identify),
];
