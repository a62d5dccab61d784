//! Packets that a rule leads elsewhere.

use std::{
    io::Read as _,
    net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket},
    process,
    time::Duration,
};

use serde_json::json;
use testkit::{
    agent::Agent,
    eventually_within, ipvs, patience, sh,
    wire::make_transparent,
    world::{HERE, in_world, netns_inode},
};

use super::support::{
    Expected, SERVER, ask, assert_answered, backend, check, config, connect, echo, nft, own_name,
    serve, serve_and_close, view, watched,
};

const LONG: Duration = Duration::from_secs(20);

#[test]
fn a_redirected_port_is_answered_by_the_server_behind_it() {
    in_world(|world| {
        let peer = world.peer();
        let port = watched();
        nft(&format!(
            "table ip nat {{ chain pre {{ type nat hook prerouting priority -100;
             tcp dport {port} redirect to :{SERVER}; udp dport {port} redirect to :{SERVER}; }}; }}"
        ));
        let _web = serve(TcpListener::bind((Ipv4Addr::UNSPECIFIED, SERVER)).expect("bound"));
        let _echo = echo(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, SERVER)).expect("bound"));

        let (code, document, page) = check();
        assert_eq!(code, Some(1), "{document:#}");
        let ways = document["answered_by"].as_array().expect("ways");
        assert_eq!(ways.len(), 2, "{ways:#?}");
        for way in ways {
            assert_eq!((&way["path"], &way["in_use"]), (&"redirect".into(), &false.into()));
            assert_eq!(way["holders"][0]["pid"], process::id(), "{way:#}");
        }
        let line = format!("{port} is configured to be answered by redirect to :{SERVER}");
        assert!(page.contains(&line), "{page}");

        let agent = Agent::start(world, &config());
        let _connection = connect(&peer, port);
        assert!(ask(&peer, port, LONG), "no answer");
        let target = format!("{HERE}:{SERVER}");
        for protocol in ["tcp", "udp"] {
            let expected = Expected { protocol, path: "redirect", target: Some(&target) };
            let way = assert_answered(&agent, expected);
            assert_eq!(way["target_scope"], "host", "{way:#}");
            assert_eq!(way["holders"][0]["pid"], process::id(), "{way:#}");
            assert_eq!(way["connections"], 1, "{way:#}");
        }
        let (code, document, page) = check();
        assert_eq!((code, &document["state"]), (Some(1), &"answered".into()));
        let line = format!(
            "{port} is answered by redirect to {target} ({}, 1 tcp connection)",
            own_name()
        );
        assert!(page.contains(&line), "{line} is not in {page}");
    });
}

/// A rule that leads TCP to the server.
fn redirect() -> String {
    format!(
        "table ip nat {{ chain pre {{ type nat hook prerouting priority -100;
         tcp dport {} redirect to :{SERVER}; }}; }}",
        watched()
    )
}

#[test]
fn connections_that_are_over_do_not_outlive_their_rule() {
    in_world(|world| {
        let peer = world.peer();
        let port = watched();
        nft(&redirect());
        let _web = serve_and_close(TcpListener::bind((HERE, SERVER)).expect("bound"));
        // The server closes first: the client leaves no socket in TIME_WAIT, which talks on the port.
        let mut connection = connect(&peer, port);
        connection.read_to_end(&mut Vec::new()).expect("an end");
        drop(connection);
        let target = format!("{HERE}:{SERVER}");
        let (is, was) = (format!("{port} is answered by redirect to {target} ("), "was, and is no");
        // The kernel keeps the connection for two minutes in its table.
        let (code, document, page) = check();
        assert_eq!(code, Some(1), "{document:#}");
        assert!(page.contains(&is), "{page}");
        nft("flush ruleset");
        let (code, document, page) = check();
        assert_eq!(code, Some(0), "{document:#}");
        let way = &document["answered_by"][0];
        assert_eq!((&way["in_use"], &way["over"]), (&json!(false), &json!(true)), "{way:#}");
        let line = format!("{port} {was} longer, answered by redirect to {target} (");
        assert!(page.contains(&line), "{page}");
    });
}

#[test]
fn the_agent_says_that_a_way_is_over_when_its_rule_is_gone() {
    in_world(|world| {
        let peer = world.peer();
        let port = watched();
        nft(&redirect());
        let web = serve(TcpListener::bind((HERE, SERVER)).expect("bound"));
        let agent = Agent::start(world, &config());
        let connection = connect(&peer, port);
        let target = format!("{HERE}:{SERVER}");
        let expected = Expected { protocol: "tcp", path: "redirect", target: Some(&target) };
        assert_answered(&agent, expected);
        // A connection that lasts is still led there: the chain translates it without a rule.
        nft("flush chain ip nat pre");
        assert_eq!(check().0, Some(1));
        drop((connection, web));
        let (code, document, _) = eventually_within(2 * patience(), "the end", || {
            Some(check()).filter(|(code, ..)| *code == Some(0))
        });
        assert_eq!((code, &document["answered_by"][0]["over"]), (Some(0), &json!(true)));
        eventually_within(2 * patience(), "the agent knows", || {
            (view(&agent)["answered_by"][0]["over"] == true).then_some(())
        });
        let way = view(&agent)["answered_by"][0].clone();
        assert_eq!((&way["in_use"], &way["connections"]), (&json!(false), &json!(0)), "{way:#}");
        nft(&redirect());
        eventually_within(2 * patience(), "it is back", || {
            (view(&agent)["answered_by"][0]["in_use"] == true).then_some(())
        });
    });
}

#[test]
fn a_port_that_is_forwarded_to_a_container_names_its_process() {
    in_world(|world| {
        let peer = world.peer();
        let backend = backend(world);
        let there = backend.peer.run(netns_inode);
        let (port, target) = (watched(), format!("10.9.1.2:{SERVER}"));
        nft(&format!(
            "table ip nat {{ chain pre {{ type nat hook prerouting priority -100;
             meta l4proto {{ tcp, udp }} th dport {port} dnat to {target}; }}; }}"
        ));
        let agent = Agent::start(world, &config());
        let _connection = connect(&peer, port);
        assert!(ask(&peer, port, LONG), "no answer");
        for protocol in ["tcp", "udp"] {
            let expected = Expected { protocol, path: "dnat", target: Some(&target) };
            let way = assert_answered(&agent, expected);
            assert_eq!(way["target_scope"], "namespace", "{way:#}");
            assert_eq!(way["target_netns_inode"], there, "{way:#}");
            assert_eq!(way["holders"][0]["pid"], process::id(), "{way:#}");
        }
        let (_, _, page) = check();
        let line = format!("{port} is answered by DNAT to {target} ({}, 1", own_name());
        assert!(page.contains(&line), "{line} is not in {page}");
    });
}

#[test]
fn a_port_of_the_load_balancer_names_the_server_behind_it() {
    in_world(|world| {
        let peer = world.peer();
        let backend = backend(world);
        let there = backend.peer.run(netns_inode);
        let (service, server) = (SocketAddrV4::new(HERE, watched()), "10.9.1.2:8080");
        assert_eq!(check().0, Some(0));
        let target = server.parse().expect("an address");
        for protocol in [libc::IPPROTO_TCP, libc::IPPROTO_UDP] {
            if let Err(error) = ipvs::forward(protocol, service, target) {
                return eprintln!("skipped: no IPVS here: {error}");
            }
        }
        let (code, document, page) = check();
        assert_eq!(code, Some(1), "{document:#}");
        let ways = document["answered_by"].as_array().expect("ways");
        assert_eq!(ways.len(), 2, "{ways:#?}");
        let line = format!("{} is configured to be answered by IPVS to {server}", watched());
        assert!(page.contains(&line), "{line} is not in {page}");

        let agent = Agent::start(world, &config());
        let _connection = connect(&peer, watched());
        assert!(ask(&peer, watched(), LONG), "no answer");
        for protocol in ["tcp", "udp"] {
            let expected = Expected { protocol, path: "ipvs", target: Some(server) };
            let way = assert_answered(&agent, expected);
            assert_eq!(way["target_netns_inode"], there, "{way:#}");
            assert_eq!(way["holders"][0]["pid"], process::id(), "{way:#}");
        }
    });
}

#[test]
fn a_transparent_proxy_is_named_while_its_connection_lasts_and_afterwards() {
    in_world(|world| {
        let peer = world.peer();
        let port = watched();
        sh("ip rule add fwmark 1 lookup 100");
        sh("ip route add local default dev lo table 100");
        nft(&format!(
            "table ip proxy {{ chain pre {{ type filter hook prerouting priority mangle;
             tcp dport {port} tproxy to :{SERVER} meta mark set 1 accept; }}; }}"
        ));
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, SERVER)).expect("bound");
        make_transparent(&listener);
        let _server = serve(listener);
        let agent = Agent::start(world, &config());
        // The accepted socket has the watched port, and there is no listener with it.
        let connection = connect(&peer, port);
        let target = format!(":{SERVER}");
        let expected = Expected { protocol: "tcp", path: "tproxy", target: Some(&target) };
        let way = assert_answered(&agent, expected);
        assert_eq!(way["holders"][0]["pid"], process::id(), "{way:#}");
        drop(connection);
        assert_answered(&agent, expected);
    });
}
