//! rsyslog, which writes what comes by each of its inputs.

use std::{
    fs::{self, File},
    path::Path,
    process::{Child, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use super::{
    certificates::authority,
    eventually,
    servers::{libraries, program, unpacked_root, with_libraries},
    world::World,
};

/// Its inputs as rsyslog names them, and the addresses of [`Rsyslog::addresses`] that lead there.
pub const INPUTS: [&str; 4] = ["imuxsock", "imudp", "imptcp", "imtcp"];

/// A line has the input, the priority, the head of the message field by field, and its text.
const CONFIG: &str = r#"
global(workDirectory="DIR" maxMessageSize="64k" defaultNetstreamDriverCAFile="DIR/ca.crt"
    defaultNetstreamDriverCertFile="DIR/server.crt" defaultNetstreamDriverKeyFile="DIR/server.key")
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket="DIR/log" UseSpecialParser="off" UseSysTimeStamp="off" IgnoreTimestamp="off")
module(load="imudp")
input(type="imudp" address="127.0.0.1" port="5514")
module(load="imptcp")
input(type="imptcp" address="127.0.0.1" port="5601")
module(load="imtcp" StreamDriver.Name="ossl" StreamDriver.Mode="1" StreamDriver.AuthMode="anon")
input(type="imtcp" address="127.0.0.1" port="6514")
template(name="line" type="string"
    string="%inputname% %pri-text% %timereported:::date-rfc3339% %hostname% %app-name% %procid% %msgid% %structured-data% %msg%\n")
action(type="omfile" file="DIR/messages" template="line")
"#;

/// A server that ends with the test.
pub struct Rsyslog {
    child: Child,
}

impl Rsyslog {
    /// Where it listens, in the order of [`INPUTS`].
    pub fn addresses(world: &World) -> [String; 4] {
        [
            format!("unix:{}", world.path("log").display()),
            "udp:127.0.0.1:5514".to_owned(),
            "tcp:127.0.0.1:5601".to_owned(),
            "tls:127.0.0.1:6514".to_owned(),
        ]
    }

    /// Makes what a server needs: its certificate is of `ca.crt`.
    pub fn prepare(world: &World) {
        authority(world, "ca", &["server"]);
        let config = CONFIG.replace("DIR", World::DIR);
        fs::write(world.path("rsyslog.conf"), config).expect("written");
    }

    /// Starts one, and waits until it listens everywhere.
    pub fn start(world: &World) -> Self {
        let mut command = with_libraries("rsyslogd");
        let path = program("rsyslogd");
        let modules = unpacked_root(&path).map(libraries).unwrap_or_default();
        let modules = modules.into_iter().map(|folder| folder.join("rsyslog"));
        if let Some(modules) = modules.into_iter().find(|folder| folder.is_dir()) {
            command.arg("-M").arg(modules);
        }
        let child = command
            .args(["-n", "-C", "-i"])
            .arg(world.path("rsyslog.pid"))
            .arg("-f")
            .arg(world.path("rsyslog.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(world.path("rsyslog.log")).expect("a log"))
            .spawn()
            .expect("spawned");
        eventually("a server that listens", || {
            let is_there = |table: &str, port: &str| {
                let text = fs::read_to_string(format!("/proc/thread-self/net/{table}"));
                text.is_ok_and(|text| text.contains(port))
            };
            // 5514, 5601 and 6514.
            let all =
                is_there("udp", ":158A ") && is_there("tcp", ":15E1 ") && is_there("tcp", ":1972 ");
            (all && world.path("log").exists()).then_some(())
        });
        Self { child }
    }

    /// The lines that it has written.
    pub fn lines(world: &World) -> Vec<String> {
        let text = fs::read_to_string(world.path("messages")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Ends it in order.
    pub fn stop(mut self) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).expect("a signal");
        self.child.wait().expect("ended");
        // It leaves its socket behind.
        let _ = fs::remove_file(Path::new(World::DIR).join("log"));
    }
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
