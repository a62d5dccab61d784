//! Secrets in payloads and command lines, and who may read what the agent writes.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    process::{Child, Command, Stdio},
};

use rustix::{fs::Mode, process::umask};
use serde_json::Value;
use testkit::{
    agent::{Agent, Config, finish, ghostport, stdout},
    eventually,
    world::{World, in_world, port},
};

const SECRET: &str = "hunter2";

/// A program that holds a UDP socket on the port that it is given; what follows is for others to see.
const HOLDER: &str =
    r#"socket(S,2,2,17);bind(S,pack("Sna4x8",2,$ARGV[0],"\x7f\0\0\1"))||die;sleep 99"#;

/// A holder of the watched port with secrets in its command line.
struct Holder(Child);

impl Holder {
    fn start() -> Self {
        let mut command = Command::new("perl");
        command.args(["-e", HOLDER, &port(0).to_string(), "--password", SECRET]);
        command.args(["token=hunter2", "postgres://me:hunter2@db/x", "AKIAIOSFODNN7EXAMPLE"]);
        Self(command.stdout(Stdio::null()).spawn().expect("perl"))
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends a request with a secret in its target to the watched port.
fn request() -> (TcpListener, TcpStream) {
    use std::io::Write as _;
    let listener = TcpListener::bind(("127.0.0.1", port(0))).expect("bound");
    let mut stream = TcpStream::connect(("127.0.0.1", port(0))).expect("connected");
    let head = "GET /health?token=hunter2 HTTP/1.1\r\nHost: x\r\nCookie: a=hunter2\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("sent");
    (listener, stream)
}

/// All that a run says of a holder and a request: events, store, API and check.
fn said(world: &World, config: &Config) -> (Vec<Value>, String) {
    let agent = Agent::start(world, config);
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    let holder = Holder::start();
    let connection = request();
    let wanted = |name: &'static str| move |event: &&Value| event["event.name"] == name;
    let is_of_perl = |event: &&Value| event["process.executable.name"] == "perl";
    let events = eventually("a bind and a finding", || {
        let events = agent.events();
        let bind = events.iter().filter(wanted("ghostport.bind")).find(is_of_perl)?.clone();
        let finding = events.iter().find(wanted("ghostport.identified"))?.clone();
        Some(vec![bind, finding])
    });
    let mut all = String::new();
    let path = format!("/api/v1/ports/{}", port(0));
    all += &eventually("the holder in the API", || {
        let answer: Value = agent.ask(&path);
        let text = answer.to_string();
        text.contains("perl").then_some(text)
    });
    all += &agent.ask::<Value>("/api/v1/events").to_string();
    let config = world.path("ghostport.yaml");
    for arguments in [&["check"][..], &["check", "--json"], &["events"], &["events", "--json"]] {
        let mut command = ghostport();
        command.args(arguments).arg("--config").arg(&config);
        all += &stdout(&finish(&mut command));
    }
    drop((holder, connection));
    agent.terminate();
    for file in ["events.jsonl", "ghostport.db"] {
        all += &String::from_utf8_lossy(&fs::read(world.path(file)).expect("a file"));
    }
    (events, all)
}

#[test]
fn no_secret_leaves_the_agent_by_default() {
    in_world(|world| {
        let config = Config::new([port(0)]).on(&["lo"]).payload("{keep: hash}");
        let (events, all) = said(world, &config);
        let args = events[0]["process.command_args"].as_array().expect("a command line");
        let expected = ["--password", "***", "token=***", "postgres://me:***@db/x", "AKIA***"];
        assert_eq!(args[4..], expected, "{args:?}");
        assert_eq!(events[1]["ghostport.details"]["target"], "/health?…");
        assert_eq!(events[1]["ghostport.details"]["host"], "x");
        assert!(all.contains("/health?…") && all.contains("token=***"), "it was said at all");
        for secret in [SECRET, "IOSFODNN7EXAMPLE"] {
            let at = all
                .find(secret)
                .map(|at| String::from_utf8_lossy(&all.as_bytes()[at.saturating_sub(99)..at + 9]));
            assert_eq!(at, None);
        }
    });
}

#[test]
fn everything_is_shown_to_those_who_ask_for_it() {
    in_world(|world| {
        let config = Config { command_line: "full", ..Config::new([port(0)]) };
        let (events, _) = said(world, &config.on(&["lo"]).payload("{details: full}"));
        let args = events[0]["process.command_args"].as_array().expect("a command line");
        assert_eq!(args[4..6], ["--password", SECRET]);
        assert_eq!(events[1]["ghostport.details"]["target"], "/health?token=hunter2");
    });
}

#[test]
fn details_can_be_left_out() {
    in_world(|world| {
        let config = Config::new([port(0)]).on(&["lo"]).payload("{details: none}");
        let (events, _) = said(world, &config);
        assert_eq!(events[1]["ghostport.verdict"], "http");
        assert_eq!(events[1].get("ghostport.details"), None, "{}", events[1]);
    });
}

#[test]
fn what_the_agent_writes_is_closed_to_other_users() {
    in_world(|world| {
        let ours = umask(Mode::empty());
        let agent = Agent::start(world, &Config::new([port(0)]));
        umask(ours);
        let holder = Holder::start();
        eventually("an event", || agent.count_events("bind").checked_sub(1));
        let files = ["ghostport.db", "ghostport.db-wal", "ghostport.db-shm", "events.jsonl"];
        let paths = files.map(|file| world.path(file)).into_iter();
        for path in paths.chain(["/run/ghostport/api.sock".into()]) {
            let mode = fs::metadata(&path).expect("a file").permissions().mode() & 0o7777;
            let most = if path.ends_with("api.sock") { 0o660 } else { 0o640 };
            assert_eq!(mode & !most, 0, "{} has {mode:o}", path.display());
        }
        drop(holder);
    });
}
