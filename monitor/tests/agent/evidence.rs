//! Evidence of what the processes on watched ports execute.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};
use testkit::{
    agent::{Agent, Config, finish, ghostport, json},
    eventually,
    world::{World, in_world, port},
};

/// Debian's, which a package installed.
const PYTHON: &str = "/usr/bin/python3";

const SERVER: &str = "import socket, sys\n\
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
    s.bind(('127.0.0.1', int(sys.argv[1])))\n\
    sys.stdin.read()\n";

/// A program that holds a port until it is dropped.
struct Server(Child);

impl Server {
    fn start(program: &Path, script: &Path, port: u16) -> Self {
        let mut command = Command::new(program);
        command.arg("-I").arg(script).arg(port.to_string()).stdin(Stdio::piped());
        Self(command.spawn().expect("a server"))
    }

    /// One whose executable is in memory alone.
    fn in_memory(script: &Path, port: u16) -> Self {
        let mut command = Command::new(PYTHON);
        let program = "import os, sys\n\
            fd = os.memfd_create('x', 0)\n\
            os.write(fd, open(os.path.realpath(sys.executable), 'rb').read())\n\
            os.execve(fd, ['worker', '-I', *sys.argv[1:]], {})\n";
        command.args(["-I", "-c", program]).arg(script).arg(port.to_string());
        Self(command.stdin(Stdio::piped()).spawn().expect("a server"))
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

fn event(agent: &Agent, kind: &str, pid: u32) -> Value {
    let name = format!("ghostport.{kind}");
    eventually("the event", || {
        let is_it = |event: &Value| event["event.name"] == *name && event["process.pid"] == pid;
        agent.events().into_iter().find(is_it)
    })
}

/// As sha256sum(1) and dpkg(1) have it.
fn said_by(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().expect("output");
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

fn sha256_of(path: &Path) -> String {
    said_by("sha256sum", &[path.to_str().expect("UTF-8")])[..64].to_owned()
}

/// The package of Debian's Python, and its version.
fn package_of(path: &Path) -> [String; 2] {
    let found = said_by("dpkg", &["-S", path.to_str().expect("UTF-8")]);
    let name = found.split(':').next().expect("a package").to_owned();
    let version = said_by("dpkg-query", &["-W", "-f", "${Version}", &name]);
    [name, version]
}

fn written(world: &World, name: &str, content: &[u8]) -> PathBuf {
    let path = world.path(name);
    fs::write(&path, content).expect("written");
    path
}

#[test]
fn what_a_process_executes_is_hashed_and_its_package_named() {
    in_world(|world| {
        let agent = Agent::start(world, &Config::new([port(0), port(1), port(2)]));
        let script = written(world, "server.py", SERVER.as_bytes());
        let python = fs::canonicalize(PYTHON).expect("Python");
        let [name, version] = package_of(&python);

        let installed = Server::start(Path::new(PYTHON), &script, port(0));
        let found = event(&agent, "executable", installed.pid());
        for (field, expected) in [
            ("ghostport.executable_sha256", json!(sha256_of(&python))),
            ("ghostport.package", json!(name)),
            ("ghostport.package_version", json!(version)),
            ("ghostport.package_manager", json!("dpkg")),
            ("ghostport.executable_modified", json!(false)),
            ("ghostport.script", json!(script)),
            ("ghostport.script_sha256", json!(sha256_of(&script))),
            ("network.local.port", json!(port(0))),
            ("ghostport.severity", json!("info")),
        ] {
            assert_eq!(found[field], expected, "{field}: {found}");
        }

        let copy = written(world, "copy", &fs::read(&python).expect("Python"));
        said_by("chmod", &["u+sx", copy.to_str().expect("UTF-8")]);
        let deleted = Server::start(&copy, &script, port(1));
        event(&agent, "bind", deleted.pid());
        fs::remove_file(&copy).expect("removed");
        let found = event(&agent, "executable", deleted.pid());
        assert_eq!(found["ghostport.executable_sha256"], sha256_of(&python), "{found}");
        assert_eq!(found["ghostport.executable_setuid"], true, "{found}");
        assert_eq!(found.get("ghostport.package"), None, "{found}");

        let hidden = Server::in_memory(&script, port(2));
        let found = event(&agent, "executable", hidden.pid());
        assert_eq!(found["ghostport.executable_memfd"], true, "{found}");
        assert_eq!(found["ghostport.executable_sha256"], sha256_of(&python), "{found}");
        assert_eq!(found["ghostport.severity"], "warning", "{found}");

        let ports = [port(0), port(1), port(2)].map(|port| port.to_string());
        let output = finish(ghostport().arg("check").args(ports).arg("--json"));
        let document: Value = json(&output);
        let evidence = |index: usize| {
            let socket = &document["ports"][index]["sockets"][0];
            socket["holders"][0]["evidence"].clone()
        };
        assert_eq!(evidence(0)["package"]["name"], name, "{document:#}");
        assert_eq!(evidence(1)["deleted"], true, "{document:#}");
        assert_eq!(evidence(2)["memfd"], true, "{document:#}");
        let shown = eventually("evidence in the API", || {
            let shown: Value = agent.ask(&format!("/api/v1/ports/{}", port(0)));
            let evidence = shown["sockets"][0]["holders"][0]["evidence"].clone();
            evidence.is_object().then_some(evidence)
        });
        assert_eq!(shown, evidence(0));
    });
}

#[test]
fn an_owner_is_judged_when_its_executable_is_known() {
    in_world(|world| {
        let python = fs::canonicalize(PYTHON).expect("Python");
        let [name, _] = package_of(&python);
        let keys = format!(
            "expect: [{{package: '{name}', exe: '/usr/**'}}, {{sha256: {}, user: nobody}}]",
            sha256_of(&python)
        );
        let watched = [port(0), port(1)];
        let agent = Agent::start(world, &Config::new(watched).with_port_keys(&keys));
        let script = written(world, "server.py", SERVER.as_bytes());
        let own = Server::start(Path::new(PYTHON), &script, watched[0]);
        event(&agent, "executable", own.pid());
        // The hash matches, and the user does not: nothing has to be waited for.
        let copy = written(world, "copy", &fs::read(&python).expect("Python"));
        said_by("chmod", &["+x", copy.to_str().expect("UTF-8")]);
        let other = Server::start(&copy, &script, watched[1]);
        assert_eq!(event(&agent, "bind", other.pid())["ghostport.expected"], false);
        event(&agent, "unexpected_owner", other.pid());
        let own_pid = own.pid();
        drop(own);
        // By now the file is known, and the next bind is judged at once.
        let again = Server::start(Path::new(PYTHON), &script, watched[0]);
        assert_eq!(event(&agent, "bind", again.pid())["ghostport.expected"], true);
        let is_own =
            |event: &Value| event["process.pid"] == own_pid || event["process.pid"] == again.pid();
        let mut of_own = agent.events().into_iter().filter(is_own);
        let unexpected = of_own.find(|event| event["event.name"] == "ghostport.unexpected_owner");
        assert_eq!(unexpected, None, "the package matches");
        let kept: Value = agent.ask("/api/v1/events?kind=executable");
        assert!(kept.to_string().contains(&name), "{kept}");
    });
}
