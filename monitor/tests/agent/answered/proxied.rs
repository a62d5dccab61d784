//! A port that a proxy holds for a container.

use std::{
    env, fs,
    io::copy,
    net::{Ipv4Addr, TcpListener, TcpStream},
    process::{self, Child, Command, Stdio},
    thread,
};

use rustix::mount::mount_bind;
use serde_json::{Value, json};
use testkit::{
    agent::Agent,
    eventually,
    world::{HERE, World, in_world, netns_inode},
};

use super::support::{
    SERVER, assert_not_answered, backend, check, config, connect, own_name, view, watched,
};

/// What the stand-in for docker-proxy does, with docker-proxy's arguments.
#[test]
#[ignore = "a program of the other tests"]
fn stand_in() {
    let arguments: Vec<String> = env::args().collect();
    let value = |flag: &str| {
        let at = arguments.iter().position(|argument| argument == flag).expect(flag);
        arguments[at + 1].clone()
    };
    let end = |address: &str, port: &str| format!("{}:{}", value(address), value(port));
    let listener = TcpListener::bind(end("-host-ip", "-host-port")).expect("bound");
    for client in listener.incoming() {
        let mut client = client.expect("a connection");
        let mut server =
            TcpStream::connect(end("-container-ip", "-container-port")).expect("there");
        let mut ends = [client.try_clone().expect("a copy"), server.try_clone().expect("a copy")];
        thread::spawn(move || copy(&mut server, &mut client));
        thread::spawn(move || {
            let [from, to] = &mut ends;
            copy(from, to)
        });
    }
}

/// A program that ends with the test.
struct Proxy(Child);

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Proxy {
    /// Holds the watched port for the server behind this host.
    fn start(world: &World) -> Self {
        Self::named(world, "docker-proxy", &[])
    }

    /// The same by another name, with further arguments behind.
    fn named(world: &World, name: &str, rest: &[&str]) -> Self {
        let path = world.path(name);
        fs::write(&path, "").expect("a file");
        let this = env::current_exe().expect("a path");
        mount_bind(this, &path).expect("mounted");
        let port = watched().to_string();
        let server = SERVER.to_string();
        let here = HERE.to_string();
        let child = Command::new(path)
            .args(["answered::proxied::stand_in", "--exact", "--ignored", "--"])
            .args(["-proto", "tcp", "-host-ip", &here, "-host-port", &port])
            .args(["-container-ip", "10.9.1.2", "-container-port", &server])
            .args(rest)
            .stdout(Stdio::null())
            .spawn()
            .expect("spawned");
        let proxy = Self(child);
        eventually("the proxy", || TcpStream::connect((HERE, watched())).ok());
        proxy
    }
}

#[track_caller]
fn assert_names_the_container(ways: &Value, proxy: &Proxy, there: u64) {
    let way = &ways[0];
    assert_eq!(way["proxy"], "docker-proxy", "{ways:#}");
    assert_eq!(way["proxy_pid"], proxy.0.id(), "{ways:#}");
    assert_eq!(way["target"], format!("10.9.1.2:{SERVER}"), "{ways:#}");
    assert_eq!(way["target_scope"], "namespace", "{ways:#}");
    assert_eq!(way["target_netns_inode"], there, "{ways:#}");
    assert_eq!(way["holders"][0]["pid"], process::id(), "{ways:#}");
}

/// Which of its ports slirp4netns passes on is known to itself alone.
#[test]
fn the_processes_behind_a_proxy_without_a_mapping_are_named() {
    in_world(|world| {
        let _peer = world.peer();
        let backend = backend(world);
        let there = backend.peer.run(netns_inode);
        let member =
            backend.peer.run(|| Proxy(Command::new("sleep").arg("1000").spawn().expect("sleep")));
        let pid = member.0.id().to_string();
        let _proxy = Proxy::named(world, "slirp4netns", &[&pid, "tap0"]);
        let way = || {
            let (_, document, page) = check();
            (document["forwarded_to"][0].clone(), page)
        };
        let (only, _) = way();
        assert_eq!(only["proxy"], "slirp4netns", "{only:#}");
        assert_eq!(only["target"], format!(":{SERVER}"), "{only:#}");
        assert_eq!(only["holders"][0]["pid"], process::id(), "{only:#}");

        let _others = backend.peer.run(|| {
            // The second is not reached from outside the container.
            [(Ipv4Addr::UNSPECIFIED, SERVER + 1), (Ipv4Addr::LOCALHOST, SERVER + 2)]
                .map(|address| TcpListener::bind(address).expect("bound"))
        });
        let (several, page) = way();
        assert_eq!(several.get("target"), None, "{several:#}");
        assert_eq!(several["possible_ports"], json!([SERVER, SERVER + 1]), "{several:#}");
        assert_eq!(several["target_netns_inode"], there, "{several:#}");
        assert_eq!(several["holders"][0]["pid"], process::id(), "{several:#}");
        let line = format!(
            "{} is passed on by slirp4netns to one of the ports {SERVER}, {} in network namespace \
             {there} ({}, tcp)",
            watched(),
            SERVER + 1,
            own_name()
        );
        assert!(page.contains(&line), "{line} is not in {page}");
    });
}

#[test]
fn the_process_behind_a_proxy_is_named() {
    in_world(|world| {
        let peer = world.peer();
        let backend = backend(world);
        let there = backend.peer.run(netns_inode);
        let proxy = Proxy::start(world);
        let (code, document, page) = check();
        assert_eq!(code, Some(1), "{document:#}");
        assert_names_the_container(&document["forwarded_to"], &proxy, there);
        let line = format!(
            "{} is passed on by docker-proxy to 10.9.1.2:{SERVER} ({}, tcp)",
            watched(),
            own_name()
        );
        assert!(page.contains(&line), "{line} is not in {page}");

        let agent = Agent::start(world, &config());
        // An answer is the holder's once the first scan has found it.
        eventually("the holder", || (view(&agent)["state"] == "bound").then_some(()));
        let _connection = connect(&peer, watched());
        assert_not_answered(&agent, "served");
        assert_names_the_container(&view(&agent)["forwarded_to"], &proxy, there);
        let event = eventually("an event", || {
            let mut events = agent.events().into_iter();
            events.find(|event| event["event.name"] == "ghostport.unexpected_owner")
        });
        assert_eq!(event["ghostport.path_target"], format!("10.9.1.2:{SERVER}"), "{event}");
    });
}
