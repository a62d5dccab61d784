//! Servers that are not ghostport's, started by the test in its own world.

use std::{
    env,
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};

use serde_json::Value;

use super::{eventually, http, world::World};

/// What operators import.
pub fn dashboards() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../dashboards")
}

/// One of the programs that `cargo xtask setup` provides: this system's own, or the one that it
/// unpacked into the target folder, where this test program is too. Debian calls Alertmanager
/// prometheus-alertmanager.
pub fn program(name: &str) -> PathBuf {
    let this = env::current_exe().expect("a path");
    let homes = this.ancestors().map(|folder| folder.join(UNPACKED)).chain(["/usr".into()]);
    let places = homes.flat_map(|home| PLACES.map(|place| home.join(place)));
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders = env::split_paths(&path).chain(places);
    let names = [name.to_owned(), format!("prometheus-{name}")];
    folders
        .find_map(|folder| names.iter().map(|name| folder.join(name)).find(|path| path.is_file()))
        .unwrap_or_else(|| panic!("{name} is not here: cargo xtask setup"))
}

/// Where `cargo xtask setup` unpacks them, in the target folder.
const UNPACKED: &str = "programs/usr";

/// Where packages have their programs, below `/usr`.
const PLACES: [&str; 3] = ["bin", "sbin", "lib/kannel/test"];

/// Runs one of them. What was unpacked looks for its data where its package would have put it: in a
/// mount namespace of its own, it finds it there.
fn command(name: &str) -> Command {
    let program = program(name);
    let Some(root) = unpacked_root(&program) else { return Command::new(program) };
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", r#"mount --bind "$0" "$1" && shift && exec "$@""#])
        .args([&root.join("usr/share"), Path::new("/usr/share"), &program]);
    command
}

/// One of them, with the libraries that were unpacked beside it.
pub(super) fn with_libraries(name: &str) -> Command {
    let program = program(name);
    let mut command = Command::new(&program);
    if let Some(root) = unpacked_root(&program) {
        command.env("LD_LIBRARY_PATH", env::join_paths(libraries(root)).expect("paths"));
    }
    command
}

/// The folder that stands for `/` where a program was unpacked.
pub(super) fn unpacked_root(program: &Path) -> Option<&Path> {
    program.ancestors().find(|folder| folder.ends_with(UNPACKED))?.parent()
}

/// Folders of libraries, which Debian names after the machine: `usr/lib/x86_64-linux-gnu`.
pub(super) fn libraries(root: &Path) -> Vec<PathBuf> {
    let parents = ["lib", "usr/lib"].map(|folder| root.join(folder));
    let entries = parents.iter().filter_map(|parent| fs::read_dir(parent).ok()).flatten().flatten();
    let folders = entries.map(|entry| entry.path());
    folders.filter(|folder| folder.to_string_lossy().contains("-linux-gnu")).collect()
}

/// A server that ends with the test. What it said is shown if the test fails.
pub struct Server {
    child: Child,
    log: PathBuf,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Server {
    /// Starts one of Prometheus' family on a port of loopback, and waits until it is ready.
    pub fn start(world: &World, name: &str, port: u16, arguments: &[String]) -> Self {
        let listen = format!("--web.listen-address=127.0.0.1:{port}");
        Self::start_until(world, name, port, "/-/ready", &[arguments, &[listen]].concat())
    }

    /// Starts a program with these arguments and no other, and waits until a page of it is there.
    pub fn start_until(
        world: &World,
        name: &str,
        port: u16,
        ready: &str,
        arguments: &[String],
    ) -> Self {
        let log = world.path(&format!("{name}-{port}.log"));
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let child = command(name)
            .args(arguments)
            .current_dir(World::DIR)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).expect("a log"))
            .spawn()
            .expect("spawned");
        let mut server = Self { child, log, address };
        eventually(&format!("{name} that is ready"), || {
            if let Some(status) = server.child.try_wait().expect("waited") {
                panic!("{name} ended with {status}");
            }
            http::get(address, ready).ok().filter(|response| response.status == 200)
        });
        server
    }

    /// Asks for a document of JSON.
    pub fn get(&self, path: &str) -> Value {
        let response = http::get_whole(self.address, path).expect(path);
        assert_eq!(response.status, 200, "{path}: {}", response.body);
        serde_json::from_str(&response.body).expect("JSON")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let said = fs::read_to_string(&self.log).unwrap_or_default();
            eprintln!("--- {} ---\n{said}---", self.log.display());
        }
    }
}

/// What a server with Prometheus' API answers to a question.
pub fn result_of(answer: Value) -> Vec<Value> {
    match &answer["data"]["result"] {
        Value::Array(series) => series.clone(),
        other => panic!("no result: {other}"),
    }
}

/// Percent-encoding of all that is not a letter or a digit.
pub fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        _ if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}
