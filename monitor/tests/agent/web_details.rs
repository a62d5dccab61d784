//! Which local users read details over a loopback listener.

use std::{
    io::copy,
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::unix::process::CommandExt as _,
    process::Command,
    thread,
};

use rustix::{
    mount::{MountFlags, mount},
    process::Uid,
    thread::set_thread_res_uid,
};
use testkit::{
    agent::{Agent, Config, LISTEN, finish, ghostport, stdout},
    privileges::{Privileges, SOMEBODY},
    world::{World, in_world, port},
};

/// The group of an agent that runs as [`SOMEBODY`].
const ADMINS: u32 = SOMEBODY;
/// A user who is not the agent's.
const OTHER: u32 = 4712;

const DETAILS: [&str; 6] = [
    "/",
    "/api/v1/ports",
    "/api/v1/events",
    "/api/v1/events/stream",
    "/api/v1/talkers",
    "/api/v1/hooks",
];

/// An agent of a user and a group of its own, as packages run it.
fn start(world: &World) -> Agent {
    world.give_to(SOMEBODY);
    let config = Config::new([port(0)]).on(&["lo"]);
    Agent::launch(world, &config, Privileges::usual(SOMEBODY).ghostport(world, &["run"]))
}

/// What curl gets as this user: status and body. A stream is left after a moment.
fn curl(mut command: Command, arguments: &[&str], port: u16, path: &str) -> (u16, String) {
    command.args(["-s", "-m", "5", "--max-filesize", "10000000", "-w", "\n%{http_code}"]);
    let limit: &[&str] = if path.ends_with("stream") { &["-m", "1"] } else { &[] };
    command.args(limit).args(arguments).arg(format!("http://127.0.0.1:{port}{path}"));
    let said = stdout(&finish(&mut command));
    let (body, status) = said.rsplit_once('\n').expect("a status");
    (status.parse().expect("a status"), body.to_owned())
}

/// curl as a user with one group.
fn curl_as(user: u32, group: u32) -> Command {
    let mut command = Command::new("curl");
    command.uid(user).gid(group);
    command
}

/// curl as a user with a group of its own and a supplementary one.
fn curl_of_member(user: u32, group: u32) -> Command {
    let mut command = Command::new("setpriv");
    let ids = [format!("--reuid={user}"), format!("--regid={user}"), format!("--groups={group}")];
    command.args(ids).arg("curl");
    command
}

#[test]
fn details_are_for_root_and_the_group_of_the_agent() {
    in_world(|world| {
        let _agent = start(world);
        for path in DETAILS {
            let status = |command| curl(command, &[], LISTEN, path).0;
            assert_eq!(status(curl_as(0, 0)), 200, "root {path}");
            assert_eq!(status(curl_as(OTHER, ADMINS)), 200, "effective group {path}");
            assert_eq!(status(curl_of_member(OTHER, ADMINS)), 200, "supplementary group {path}");
            assert_eq!(status(curl_as(OTHER, OTHER)), 403, "another user {path}");
            assert_eq!(status(curl_of_member(OTHER, 0)), 403, "root's group is not the agent's");
        }
        for path in ["/metrics", "/healthz", "/readyz", "/runbook"] {
            assert_eq!(curl(curl_as(OTHER, OTHER), &[], LISTEN, path).0, 200, "{path}");
        }
        let (_, landing) = curl(curl_as(OTHER, OTHER), &[], LISTEN, "/");
        assert!(landing.contains("<!doctype html>") && landing.contains("href=\"/metrics\""));
        let (_, refused) = curl(curl_as(OTHER, OTHER), &[], LISTEN, "/api/v1/ports");
        assert!(refused.contains("neither root's nor of the agent's group"), "{refused}");

        // The commands ask over the Unix socket.
        let check = finish(ghostport().args(["check", &port(0).to_string(), "--json"]));
        assert!(stdout(&check).contains("\"state\""), "{}", stdout(&check));
    });
}

#[test]
fn a_user_reads_no_command_lines_of_others_under_hidepid() {
    in_world(|world| {
        mount("proc", "/proc", "proc", MountFlags::empty(), Some(c"hidepid=2")).expect("mounted");
        let _agent = start(world);
        let program =
            r#"socket(S,2,2,17);bind(S,pack("Sna4x8",2,$ARGV[0],"\x7f\0\0\1"))||die;sleep 99"#;
        let mut holder = Command::new("perl");
        holder.args(["-e", program, &port(0).to_string(), "plain-word-of-root"]);
        let mut holder = holder.spawn().expect("perl");
        let details = |command: Command| curl(command, &[], LISTEN, "/api/v1/ports").1;
        testkit::eventually("the holder", || {
            details(curl_as(0, 0)).contains("plain-word-of-root").then_some(())
        });
        for path in DETAILS {
            let (status, said) = curl(curl_as(OTHER, OTHER), &[], LISTEN, path);
            assert_eq!(status, 403, "{path}: {said}");
            assert!(!said.contains("plain-word-of-root"), "{path}: {said}");
        }
        let member = details(curl_of_member(OTHER, ADMINS));
        assert!(member.contains("plain-word-of-root"), "{member}");
        holder.kill().expect("killed");
        holder.wait().expect("waited");
    });
}

/// Passes connections on to the agent, as another user; it adds and changes nothing.
fn proxy() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bound");
    let port = listener.local_addr().expect("an address").port();
    // It ends with the test program.
    thread::spawn(move || {
        let user = Uid::from_raw(OTHER);
        set_thread_res_uid(user, user, user).expect("another user");
        for client in listener.incoming().flatten() {
            let agent = TcpStream::connect((Ipv4Addr::LOCALHOST, LISTEN)).expect("connected");
            let [mut to_agent, mut from_client] =
                [&agent, &client].map(|s| s.try_clone().expect("a copy"));
            thread::spawn(move || copy(&mut from_client, &mut to_agent));
            thread::spawn(move || copy(&mut &agent, &mut &client));
        }
    });
    port
}

#[test]
fn a_local_proxy_reads_no_details_for_its_clients() {
    in_world(|world| {
        let _agent = start(world);
        let proxy = proxy();
        let host = format!("Host: 127.0.0.1:{LISTEN}");
        for path in DETAILS {
            // The proxy's user decides, not the one that asks it.
            assert_eq!(curl(curl_as(0, 0), &["-H", &host], proxy, path).0, 403, "{path}");
            // A proxy that runs as root says for whom it asks.
            for header in ["X-Forwarded-For: 192.0.2.1", "Forwarded: for=192.0.2.1", "Via: 1.1 x"] {
                let asked = curl(curl_as(0, 0), &["-H", header], LISTEN, path);
                assert_eq!(asked.0, 403, "{header} {path}: {}", asked.1);
            }
            assert_eq!(curl(curl_as(0, 0), &["-H", "Host: x.example"], LISTEN, path).0, 403);
        }
        assert_eq!(curl(curl_as(0, 0), &["-H", &host], proxy, "/metrics").0, 200);
        let socket = ["--unix-socket", "/run/ghostport/api.sock", "-H", "Via: 1.1 x"];
        assert_eq!(curl(curl_as(0, 0), &socket, LISTEN, "/api/v1/hooks").0, 200, "the Unix socket");
    });
}
