//! What listens on any port: the baseline, its events and metrics, `check --all` and `learn`.

use std::{
    fs,
    io::Read as _,
    net::TcpListener,
    process::{self, Child, Command, Stdio},
};

use serde_json::Value;
use testkit::{
    agent::{Agent, Config, finish, ghostport, json, stderr, stdout},
    calls::v4,
    eventually,
    world::{World, in_world, netns_inode, port},
};

/// A program that listens on a port until this is dropped.
struct Service(Child);

/// Listens on a port of the loopback interface.
const LISTEN: &str = "socket(S, PF_INET, SOCK_STREAM, 0);
    setsockopt(S, SOL_SOCKET, SO_REUSEADDR, pack('l', 1));
    bind(S, sockaddr_in(shift, INADDR_LOOPBACK)) or die; listen(S, 5) or die;
    print qq(listens\n); close(STDOUT); sleep 3600";

impl Service {
    /// `path`, which is perl or a copy of it, once it listens.
    fn start(path: &str, port: u16) -> Self {
        let mut command = Command::new(path);
        command.args(["-MSocket", "-e", LISTEN, &port.to_string()]).stdout(Stdio::piped());
        let mut child = command.spawn().expect("spawned");
        let mut said = String::new();
        child.stdout.take().expect("a pipe").read_to_string(&mut said).expect("read");
        assert_eq!(said, "listens\n");
        Self(child)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A program of this world's own.
fn program(world: &World, name: &str) -> String {
    let path = world.path(name);
    fs::copy("/usr/bin/perl", &path).expect("copied");
    path.to_str().expect("UTF-8").to_owned()
}

fn config() -> Config {
    Config::new([port(0)]).on(&["lo"]).listeners("{watch: all, learn: 1s}")
}

/// What the agent knows of the listeners on a port of this namespace.
fn known(agent: &Agent, port: u16) -> Option<Value> {
    let answer: Value = agent.ask("/api/v1/listeners");
    let listeners = answer["listeners"].as_array().expect("a list");
    let is_it = |listener: &&Value| {
        listener["local_port"] == port && listener["netns_inode"] == netns_inode()
    };
    listeners.iter().find(is_it).cloned()
}

fn has_learned(agent: &Agent) {
    eventually("a baseline", || {
        let answer: Value = agent.ask("/api/v1/listeners");
        (answer["watched"] == true && answer["learning"] == false).then_some(())
    });
}

/// The events of a kind on a port.
fn events(agent: &Agent, kind: &str, port: u16) -> Vec<Value> {
    let name = format!("ghostport.{kind}");
    let is_it = |event: &Value| event["event.name"] == *name && event["network.local.port"] == port;
    agent.events().into_iter().filter(is_it).collect()
}

fn event(agent: &Agent, kind: &str, port: u16) -> Value {
    eventually(kind, || events(agent, kind, port).into_iter().next())
}

#[test]
fn reports_what_the_baseline_does_not_have_once() {
    in_world(|world| {
        let (web, other) = (program(world, "web"), program(world, "other"));
        let service = Service::start(&web, port(5));
        let agent = Agent::start(world, &config());
        has_learned(&agent);
        let learned = known(&agent, port(5)).expect("a listener");
        assert_eq!((&learned["baseline"], &learned["expected"]), (&true.into(), &true.into()));

        let new = Service::start(&other, port(6));
        let reported = event(&agent, "listener_new", port(6));
        assert_eq!(reported["process.executable.path"], *other);
        assert_eq!(reported["process.pid"], new.0.id());
        assert_eq!(
            (&reported["ghostport.scope"], &reported["ghostport.expected"]),
            (&"host".into(), &false.into())
        );
        assert_eq!(event(&agent, "listener_unexpected", port(6))["ghostport.severity"], "warning");
        let text = port(6).to_string();
        let labels = [("port", &*text), ("protocol", "tcp")];
        let since = "ghostport_listener_unexpected_timestamp_seconds";
        eventually("the metric", || agent.metrics().has(since, &labels).then_some(()));
        assert!(agent.metrics().sum("ghostport_listener_changes_total", &[("change", "new")]) > 0);

        drop(service);
        let service = Service::start(&web, port(5));
        let changed = program(world, "changed");
        eventually("the service again", || {
            let holders = known(&agent, port(5))?["holders"].clone();
            (holders[0]["pid"] == service.0.id()).then_some(())
        });
        drop(service);
        let _changed = Service::start(&changed, port(5));
        let reported = event(&agent, "listener_changed", port(5));
        let changes = reported["ghostport.changes"].as_array().expect("changes");
        let executable = serde_json::json!({"field": "executable", "from": web, "to": changed});
        assert_eq!(changes, &[executable], "{reported}");
        assert_eq!(
            events(&agent, "listener_new", port(5)),
            Vec::<Value>::new(),
            "a restart is no news"
        );

        assert!(agent.terminate().success());
        let agent = Agent::start(world, &config());
        eventually("a listener", || known(&agent, port(6)));
        let known = known(&agent, port(5)).expect("a listener");
        assert_eq!((&known["baseline"], &known["expected"]), (&false.into(), &false.into()));
        drop(new);
        let again = Service::start(&other, port(6));
        eventually("the other one again", || {
            let holders = self::known(&agent, port(6))?["holders"].clone();
            (holders[0]["pid"] == again.0.id()).then_some(())
        });
        assert!(agent.terminate().success());
        let file = fs::read_to_string(world.path("events.jsonl")).expect("events");
        let of_port = |line: &&str| {
            line.contains("listener_new")
                && line.contains(&format!("\"network.local.port\":{}", port(6)))
        };
        assert_eq!(file.lines().filter(of_port).count(), 1, "once, whatever is restarted");
    });
}

#[test]
fn an_expected_listener_is_new_and_not_unexpected() {
    in_world(|world| {
        let web = program(world, "web");
        let expect = format!(
            "{{watch: all, learn: 1s, expect: [{{port: {}-{}, exe: {web}}}]}}",
            port(5),
            port(7)
        );
        let agent = Agent::start(world, &config().listeners(&expect));
        has_learned(&agent);
        let _service = Service::start(&web, port(6));
        let reported = event(&agent, "listener_new", port(6));
        assert_eq!(reported["ghostport.expected"], true);
        let listener = eventually("a scan", || known(&agent, port(6)));
        assert_eq!((&listener["baseline"], &listener["expected"]), (&false.into(), &true.into()));
        assert_eq!(events(&agent, "listener_unexpected", port(6)), Vec::<Value>::new());
    });
}

#[test]
fn check_all_lists_every_listener() {
    in_world(|world| {
        let listener = TcpListener::bind(v4(port(6))).expect("a listener");
        let config = world.path("check.yaml");
        let exe = std::env::current_exe().expect("a program");
        let check = |expect: &str, arguments: &[&str]| {
            fs::write(&config, format!("listeners: {{expect: [{expect}]}}\n")).expect("written");
            let mut command = ghostport();
            command.args(["check", "--all", "--config"]).arg(&config).args(arguments);
            finish(&mut command)
        };
        let output = check("", &["--json"]);
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        let document: Value = json(&output);
        assert_eq!(document["schema"], "ghostport.check/1");
        let is_it = |found: &&Value| {
            found["local_port"] == port(6) && found["netns_inode"] == netns_inode()
        };
        let listeners = document["listeners"].as_array().expect("a list");
        let found = listeners.iter().find(is_it).expect("the listener");
        assert_eq!((&found["transport"], &found["scope"]), (&"tcp".into(), &"host".into()));
        assert_eq!(found["holders"][0]["pid"], process::id());
        assert_eq!(found.get("expected"), None, "no agent knows the baseline");
        let page = stdout(&check("", &[]));
        assert!(!page.contains('…'), "a pipe gets everything: {page}");
        let line = page.lines().find(|line| line.contains(&format!(":{} ", port(6))));
        assert!(line.expect("a line").starts_with("?"), "{page}");
        let expected = format!("{{port: {}, exe: \"{}\"}}", port(6), exe.display());
        let page = stdout(&check(&expected, &[]));
        let line = page.lines().find(|line| line.contains(&format!(":{} ", port(6))));
        assert!(line.expect("a line").starts_with(' '), "{page}");
        drop(listener);
    });
}

#[test]
fn learn_proposes_what_was_seen_and_writes_it() {
    in_world(|world| {
        let config = config();
        let agent = Agent::start(world, &config);
        has_learned(&agent);
        let _service = Service::start("/usr/bin/perl", port(6));
        let open = format!("/tmp/ghostport-learn-{}", process::id());
        fs::copy("/usr/bin/perl", &open).expect("copied");
        let other = Service::start(&open, port(7));
        event(&agent, "listener_unexpected", port(6));
        event(&agent, "listener_unexpected", port(7));
        drop(other);
        fs::remove_file(&open).expect("removed");
        assert!(agent.terminate().success());
        let file = config.write(world);
        let text = fs::read_to_string(&file).expect("a file");
        fs::write(&file, format!("# kept\n{text}")).expect("written");
        let learn = |arguments: &[&str]| {
            finish(ghostport().args(["learn", "--config"]).arg(&file).args(arguments))
        };
        let output = learn(&[]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let page = stdout(&output);
        let perl = fs::canonicalize("/usr/bin/perl").expect("a program");
        let entry = format!("- {{port: {}, exe: \"{}\"", port(6), perl.display());
        assert!(page.contains(&entry), "{page}");
        assert!(page.contains("# opened 1 time, last within the last hour, by "), "{page}");
        let left_out = format!("listens on {}, 1 time", port(7));
        assert!(
            page.contains(&left_out) && page.contains("every user may put a program there"),
            "{page}"
        );
        assert!(page.contains("would still have alerted"), "{page}");

        let output = learn(&["--write", file.to_str().expect("UTF-8")]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let written = fs::read_to_string(&file).expect("a file");
        assert!(written.starts_with("# kept\n") && written.contains(&entry[2..]), "{written}");
        assert!(
            finish(ghostport().args(["config", "check", "--config"]).arg(&file)).status.success()
        );
        let again = learn(&["--write", file.to_str().expect("UTF-8")]);
        assert!(stderr(&again).contains("0 entries were added"), "{}", stderr(&again));
        assert_eq!(fs::read_to_string(&file).expect("a file"), written);

        let broken = world.path("broken.yaml");
        fs::write(&broken, "ports: [x]\n").expect("written");
        let refused = learn(&["--write", broken.to_str().expect("UTF-8")]);
        assert_eq!(refused.status.code(), Some(2));
        assert!(stderr(&refused).contains("broken.yaml:1:9"), "{}", stderr(&refused));
        assert_eq!(fs::read_to_string(&broken).expect("a file"), "ports: [x]\n");
    });
}
