//! Kannel, the WAP gateway: its daemons bearerbox and wapbox, and programs that talk to them as a
//! handset and as a push initiator.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    thread,
};

use super::{agent::finish, eventually, http, servers::with_libraries, world::World};

/// Where the gateway answers an operator.
const ADMIN: u16 = 13_000;
/// Where it takes pushes.
const PUSHES: u16 = 8081;

/// Datagrams are exchanged on every address; pushes go out from port 9200 to 2948.
const CONFIGURATION: &str = "\
    group = core\n\
    admin-port = 13000\n\
    admin-password = unused\n\
    wapbox-port = 13002\n\
    box-allow-ip = \"*.*.*.*\"\n\
    wdp-interface-name = \"*\"\n\
    dlr-storage = internal\n\
    \n\
    group = wapbox\n\
    bearerbox-host = 127.0.0.1\n\
    \n\
    group = ppg\n\
    ppg-url = /wappush\n\
    ppg-port = 8081\n\
    concurrent-pushes = 10\n\
    users = 10\n\
    trusted-pi = true\n\
    service-name = ppg\n";

/// What accompanies a push: its receiver, a handset on this host, in PAP 1.0.
const CONTROL: &str = r#"<?xml version="1.0"?>
<!DOCTYPE pap PUBLIC "-//WAPFORUM//DTD PAP//EN" "http://www.wapforum.org/DTD/pap_1.0.dtd">
<pap>
<push-message push-id="1@example.net" progress-notes-requested="false">
<address address-value="WAPPUSH=127.0.0.1/TYPE=IPV4@example.net"></address>
<quality-of-service priority="low" delivery-method="unconfirmed" network-required="true"
 network="GSM" bearer-required="true" bearer="CSD"></quality-of-service>
</push-message>
</pap>
"#;

/// A gateway at work. Its daemons end with the test.
pub struct Kannel {
    daemons: Vec<Child>,
}

impl Kannel {
    /// Starts the daemons in the namespaces of this thread, and waits until they are connected.
    pub fn start(world: &World) -> Self {
        fs::write(world.path("kannel.conf"), CONFIGURATION).expect("written");
        fs::write(world.path("pap.xml"), CONTROL).expect("written");
        let mut kannel = Self { daemons: vec![daemon(world, "bearerbox")] };
        kannel.wait_for(|| status().map(drop));
        kannel.daemons.push(daemon(world, "wapbox"));
        kannel.wait_for(|| status().filter(|status| status.contains("wapbox")).map(drop));
        let pushes = SocketAddr::from((Ipv4Addr::LOCALHOST, PUSHES));
        kannel.wait_for(|| http::get_whole(pushes, "/").ok().map(drop));
        kannel
    }

    fn wait_for(&mut self, ready: impl Fn() -> Option<()>) {
        eventually("a gateway that is ready", || {
            for daemon in &mut self.daemons {
                let ended = daemon.try_wait().expect("waited");
                assert!(ended.is_none(), "a daemon of Kannel ended: {ended:?}");
            }
            ready()
        });
    }

    /// Asks for a page as a handset does, until it has come.
    pub fn browse(&self, arguments: &str) {
        let mut command = with_libraries("fakewap");
        command.args(["-g", "127.0.0.1"]).args(arguments.split(' ')).current_dir(World::DIR);
        let output = finish(&mut command);
        assert!(output.status.success(), "fakewap {arguments}: {output:?}");
    }

    /// Sends a push with the content of a file, until the gateway has taken it.
    pub fn push(&self, arguments: &str, content: &Path) {
        let mut command = with_libraries("test_ppg");
        command.args(arguments.split(' ')).arg(format!("http://127.0.0.1:{PUSHES}/wappush"));
        command.arg(content).arg("pap.xml").current_dir(World::DIR);
        let output = finish(&mut command);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("1 succeeded, 0 failed"), "test_ppg {arguments}: {said}");
    }
}

impl Drop for Kannel {
    fn drop(&mut self) {
        for daemon in self.daemons.iter_mut().rev() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        if thread::panicking() {
            for name in ["bearerbox", "wapbox"] {
                let said = fs::read_to_string(log(name)).unwrap_or_default();
                eprintln!("--- {name} ---\n{said}---");
            }
        }
    }
}

fn status() -> Option<String> {
    let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, ADMIN));
    Some(http::get_whole(admin, "/status.txt").ok()?.body)
}

fn log(name: &str) -> PathBuf {
    Path::new(World::DIR).join(format!("{name}.log"))
}

fn daemon(world: &World, name: &str) -> Child {
    with_libraries(name)
        .arg(world.path("kannel.conf"))
        .current_dir(World::DIR)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(log(name)).expect("a log"))
        .spawn()
        .expect("spawned")
}
