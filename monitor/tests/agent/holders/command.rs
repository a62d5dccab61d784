//! The command itself: privileges, ports of the configuration, the terminal.

use std::{
    fs::{self},
    io::Write as _,
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::Command,
};

use ghostport::api::port::Ports;
use testkit::{
    agent::{finish, ghostport, ghostport_on_a_terminal, json, stderr, stdout},
    calls::at,
    eventually,
    privileges::{Privileges, SOMEBODY},
    sh,
    world::{Peer, in_world, netns_inode, port},
};

use super::support::{Holder, bound_udp, sockets};

/// Every socket is seen, and who holds it is not.
#[test]
fn check_runs_without_privileges() {
    in_world(|world| {
        let none = |arguments: &[&str]| {
            finish(&mut Privileges::none(SOMEBODY).ghostport(world, arguments))
        };
        let port_text = port(0).to_string();
        let quiet = none(&["check", &port_text]);
        assert_eq!(quiet.status.code(), Some(0), "{}", stderr(&quiet));
        let peer = Peer::alone();
        let _there = peer.run(|| Holder::start(bound_udp(port(0))));
        let _here = bound_udp(port(0));
        let found = none(&["check", &port_text, "--json"]);
        // There are sockets, and nothing is known of who holds them.
        assert_eq!(found.status.code(), Some(2));
        let document: Ports = json(&found);
        let here = Some(netns_inode());
        let told: Vec<_> = sockets(&document)
            .iter()
            .map(|socket| (socket.netns_inode.map(u64::from), socket.holders.clone()))
            .collect();
        // Unknown holders are absent; an empty list would mean that there are none.
        assert_eq!(told, [(None, None), (here, None)]);
        assert!(stderr(&found).contains("descriptors cannot be read"), "{}", stderr(&found));
    });
}

#[test]
fn check_takes_ports_from_the_configuration() {
    in_world(|world| {
        let config = world.path("ghostport.yaml");
        fs::write(&config, format!("ports: [{}, {}]\n", port(0), port(1))).expect("written");
        let run =
            |config: &Path| finish(ghostport().args(["check", "--json", "--config"]).arg(config));
        let _socket = bound_udp(port(1));
        let output = run(&config);
        assert_eq!(output.status.code(), Some(1));
        let document: Ports = json(&output);
        let numbers: Vec<u16> = document.ports.iter().map(|port| port.port).collect();
        assert_eq!(numbers, [port(0), port(1)]);
        let missing = run(&world.path("missing.yaml"));
        assert_eq!((missing.status.code(), &*missing.stdout), (Some(2), &b""[..]));
    });
}

/// Long names and addresses are cut or wrapped.
#[test]
fn check_fits_its_page_to_the_terminal() {
    in_world(|_| {
        sh("ip address add 2001:db8:1111:2222:3333:4444:5555:6666/128 dev lo");
        let long: SocketAddr = at("2001:db8:1111:2222:3333:4444:5555:6666", port(0));
        let listener = eventually("an address", || TcpListener::bind(long).ok());
        let mut client = TcpStream::connect(long).expect("connected");
        client.write_all(b"x").expect("sent");
        let mut command = Command::new("sleep");
        command.arg("60").args(["0.00000000000000000000"; 20]);
        let _holder = Holder::run(command, listener.into()).named("sleep");
        let arguments = ["check", &port(0).to_string()];
        let page = stdout(&finish(&mut ghostport_on_a_terminal(&arguments)));
        assert!(page.lines().all(|line| line.chars().count() <= 80), "{page}");
        for part in ["listen", "established", &long.to_string(), "$ sleep 60 0.000", "…"] {
            assert!(page.contains(part), "{part} in {page}");
        }
    });
}
