//! Sockets of UDP-Lite and SCTP.

use std::{net::SocketAddr, os::fd::OwnedFd};

use rustix::{
    io::Errno,
    net::{AddressFamily, Protocol, RawProtocol, SocketType, bind, listen},
};
use testkit::{
    calls::{Call, MECHANISMS, at, bound_life, listening_life, own_socket, v4},
    world::{in_world, port},
};

use super::bench::Bench;

fn open(address: SocketAddr, kind: SocketType, protocol: u32) -> Option<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    own_socket(family, kind, RawProtocol::new(protocol).map(Protocol::from_raw)).ok()
}

/// Runs a life with every mechanism that this kernel has.
fn by_every_mechanism(mut life: impl FnMut(&mut Bench, &str) + Send) {
    for mechanism in MECHANISMS {
        in_world(|world| {
            if let Ok(mut bench) = Bench::try_start(world, mechanism) {
                life(&mut bench, mechanism);
            }
        });
    }
}

#[test]
fn reports_a_udplite_socket() {
    const UDP_LITE: u32 = 136;
    by_every_mechanism(|bench, mechanism| {
        for address in [v4(port(0)), at("::1", port(1))] {
            let open = || open(address, SocketType::DGRAM, UDP_LITE);
            let Some(bound) = open() else {
                return eprintln!("skipped: this kernel has no UDP-Lite");
            };
            bind(&bound, &address).expect("bound");
            let refused = bind(open().expect("another"), &address);
            assert_eq!(refused, Err(Errno::ADDRINUSE));
            drop(bound);
            let [success, close] = bound_life("udplite", address);
            let in_use = Call::here("in_use", "udplite", address).refused("EADDRINUSE");
            bench.saw(&format!("UDP-Lite, by {mechanism}"), &[success, in_use, close]);
        }
    });
}

#[test]
fn reports_an_sctp_listener() {
    const SCTP: u32 = 132;
    by_every_mechanism(|bench, mechanism| {
        for kind in [SocketType::STREAM, SocketType::SEQPACKET] {
            for address in [v4(port(0)), at("::1", port(1))] {
                let open = || open(address, kind, SCTP);
                let Some(listener) = open() else {
                    return eprintln!("skipped: this kernel has no SCTP");
                };
                bind(&listener, &address).expect("bound");
                listen(&listener, 1).expect("listening");
                let refused = bind(open().expect("another"), &address);
                assert_eq!(refused, Err(Errno::ADDRINUSE));
                drop(listener);
                let [success, listens, close] = listening_life("sctp", address);
                let in_use = Call::here("in_use", "sctp", address).refused("EADDRINUSE");
                let what = format!("an SCTP listener, by {mechanism}");
                bench.saw(&what, &[success, listens, in_use, close]);
            }
        }
    });
}
