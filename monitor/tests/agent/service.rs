//! The unit that packages install, under a real systemd: it becomes ready when the hooks are
//! attached, has no more privileges than it says, and restarts without losing a count.

use std::{
    env,
    fs::{self, OpenOptions, Permissions},
    io::Write as _,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use ghostport::api::port::Port;
use testkit::{
    agent::{LISTEN, PINS, binary, detach},
    eventually, http,
    metrics::Metrics,
    sh,
    systemd::{Systemd, binding},
    world::{World, in_world, port},
};

const UNIT: &str = "ghostport.service";
const UNIT_FILE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/systemd/ghostport.service");
const CONFIG_FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/ghostport.yaml");

const PROGRAM: &str = "/usr/bin/ghostport";
const CONFIG: &str = "/etc/ghostport/ghostport.yaml";
const EVENTS: &str = "/var/log/ghostport/events.jsonl";

/// CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN, CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH by their numbers in
/// `include/uapi/linux/capability.h`.
const FIVE: u64 = 1 << 39 | 1 << 38 | 1 << 12 | 1 << 19 | 1 << 2;

/// The mode with which systemd mounts it on a host: only root may enter.
const BPFFS_MODE: u32 = 0o700;

/// A user of a package's making.
const USER: u32 = 4711;

/// Boots a systemd with the unit installed, in a world into which everything goes that the unit
/// writes.
fn with_service(test: impl FnOnce(&Systemd) + Send) {
    in_world(|world: &World| {
        world.shield(&["/etc", "/tmp", "/usr/bin", "/var"]);
        fs::set_permissions("/sys/fs/bpf", Permissions::from_mode(BPFFS_MODE)).expect("a mode");
        install();
        configure(&[port(0)]);
        let systemd = match Systemd::boot(world) {
            Ok(systemd) => systemd,
            Err(why) => return eprintln!("skipped: {why}"),
        };
        systemd.add(UNIT, &fs::read_to_string(UNIT_FILE).expect("a unit"));
        test(&systemd);
    });
}

/// What a package puts into its places.
fn install() {
    fs::copy(binary(), PROGRAM).expect("copied");
    append("/etc/passwd", &format!("ghostport:x:{USER}:{USER}::/:/usr/sbin/nologin\n"));
    append("/etc/group", &format!("ghostport:x:{USER}:\n"));
    fs::create_dir_all("/etc/ghostport").expect("a folder");
}

fn append(path: &str, line: &str) {
    let mut file = OpenOptions::new().append(true).open(path).expect(path);
    file.write_all(line.as_bytes()).expect("written");
}

fn configure(ports: &[u16]) {
    let config = format!(
        "ports: {ports:?}\ninterfaces: {{include: [lo]}}\nsinks: [{{kind: file, path: {EVENTS}}}]\n"
    );
    fs::write(CONFIG, config).expect("written");
}

fn get(path: &str) -> Option<http::Response> {
    http::get(SocketAddr::from((Ipv4Addr::LOCALHOST, LISTEN)), path).ok()
}

fn metrics() -> Metrics {
    Metrics::parse(get("/metrics").expect("an answer").body)
}

fn main_pid(systemd: &Systemd) -> u32 {
    let pids = systemd.unit_pids(UNIT);
    assert_eq!(pids.len(), 1, "{pids:?}");
    pids[0]
}

/// A line of `/proc/PID/status`.
fn status(pid: u32, key: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    line.expect(key).trim().to_owned()
}

fn send(port: u16) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    // Nothing listens there, and the refusal that comes back does not matter.
    let _ = socket.send_to(b"?", (Ipv4Addr::LOCALHOST, port));
}

/// Datagrams that arrived on a port, as the agent counts them.
fn received(port: u16) -> u64 {
    let port = port.to_string();
    let labels = [("port", port.as_str()), ("direction", "ingress"), ("side", "local")];
    metrics().sum("ghostport_packets_total", &labels)
}

#[test]
fn is_ready_once_attached_with_five_capabilities() {
    with_service(|systemd| {
        systemd.start(UNIT);
        assert_eq!(get("/readyz").expect("an answer").status, 200);
        let hooks = metrics();
        for (hook, interface) in [("bind", None), ("ingress", Some("lo")), ("egress", Some("lo"))] {
            assert!(hooks.mechanism(hook, interface).is_some(), "{hook}: {}", hooks.text);
        }
        let pid = main_pid(systemd);
        assert_eq!(status(pid, "Uid"), [USER.to_string().as_str(); 4].join("\t"));
        for set in ["CapPrm", "CapEff", "CapBnd"] {
            assert_eq!(status(pid, set), format!("{FIVE:016x}"), "{set}");
        }
        assert_eq!(status(pid, "Seccomp"), "2");
        assert!(Path::new(PINS).join("links").read_dir().expect("pins").next().is_some());
        // What another user's process is.
        systemd.add("binder.service", &binding(port(0), "stays"));
        systemd.start("binder.service");
        let holder = eventually("its holder", || {
            let view: Port = get(&format!("/api/v1/ports/{}", port(0)))?.json();
            view.sockets.first()?.holders.as_ref()?.first().cloned()
        });
        let program = env::current_exe().expect("a path");
        assert_eq!(holder.executable.as_deref(), program.to_str(), "{holder:#?}");
        assert_eq!(holder.systemd_unit.as_deref(), Some("binder.service"), "{holder:#?}");
        let events = fs::read_to_string(EVENTS).expect("events");
        assert!(events.lines().any(|line| line.contains("ghostport.bind\"")), "{events}");

        systemd.tell("stop", UNIT);
        assert_eq!(systemd.property(UNIT, "Result"), "success");
        let links = Path::new(PINS).join("links").read_dir().expect("pins").count();
        assert_eq!(links, 0, "hooks are still attached");
        detach();
    });
}

#[test]
fn systemctl_reload_accepts_valid_and_rejects_invalid_files() {
    with_service(|systemd| {
        systemd.start(UNIT);
        configure(&[port(0), port(1)]);
        systemd.tell("reload", UNIT);
        let added = port(1).to_string();
        let is_watched = || metrics().has("ghostport_dormant", &[("port", &added)]).then_some(());
        eventually("the added port", is_watched);
        fs::write(CONFIG, "ports: none\n").expect("written");
        let (done, _) = systemd.try_to_tell("reload", UNIT);
        assert!(!done, "a bad file was reloaded");
        let refused =
            || (metrics().value("ghostport_config_reload_success", &[]) == 0.0).then_some(());
        eventually("the refusal", refused);
        assert_eq!(systemd.property(UNIT, "ActiveState"), "active");
        systemd.tell("stop", UNIT);
        detach();
    });
}

/// As an upgrade does it: a new file in the place of the program, and a restart, while packets come.
#[test]
fn an_upgrade_loses_no_packet() {
    with_service(|systemd| {
        systemd.start(UNIT);
        let before = main_pid(systemd);
        let upgraded = AtomicBool::new(false);
        let sent = thread::scope(|scope| {
            let sender = scope.spawn(|| {
                let mut sent = 0;
                while !upgraded.load(Ordering::Relaxed) {
                    send(port(0));
                    sent += 1;
                    thread::sleep(Duration::from_micros(200));
                }
                sent
            });
            fs::remove_file(PROGRAM).expect("removed");
            fs::copy(binary(), PROGRAM).expect("copied");
            systemd.tell("restart", UNIT);
            upgraded.store(true, Ordering::Relaxed);
            sender.join().expect("a sender")
        });
        assert_ne!(main_pid(systemd), before);
        assert!(sent > 100, "{sent}");
        eventually("every packet", || (received(port(0)) >= sent).then_some(()));
        assert_eq!(received(port(0)), sent);
        systemd.tell("stop", UNIT);
        assert_eq!(systemd.property(UNIT, "Result"), "success");
        detach();
    });
}

#[test]
fn the_watchdog_restarts_an_agent_that_hangs() {
    with_service(|systemd| {
        let impatient = "[Service]\nWatchdogSec=2s\nTimeoutAbortSec=1s\n";
        let unit = fs::read_to_string(UNIT_FILE).expect("a unit");
        systemd.add(UNIT, &format!("{unit}{impatient}"));
        systemd.start(UNIT);
        let hung = main_pid(systemd);
        // One that works is left alone for longer than that.
        thread::sleep(Duration::from_secs(3));
        assert_eq!(main_pid(systemd), hung);
        sh(&format!("kill -STOP {hung}"));
        eventually("another agent", || {
            let pids = systemd.unit_pids(UNIT);
            (pids.len() == 1 && pids[0] != hung).then_some(())
        });
        eventually("a ready one", || {
            (systemd.property(UNIT, "ActiveState") == "active").then_some(())
        });
        systemd.tell("stop", UNIT);
        detach();
    });
}

/// By the judgement of systemd itself: 2.7 is "OK", and the tool counts in tenths.
#[test]
fn the_unit_is_valid_and_sandboxed() {
    const THRESHOLD: &str = "27";
    let folder = env::temp_dir().join(format!("ghostport-unit-{}", std::process::id()));
    fs::create_dir(&folder).expect("a folder");
    let unit = fs::read_to_string(UNIT_FILE).expect("a unit");
    let unit = unit.replace(PROGRAM, binary().to_str().expect("text"));
    let path = folder.join(UNIT);
    fs::write(&path, unit).expect("written");
    let analyze = |arguments: &[&str]| {
        let output = Command::new("systemd-analyze").args(arguments).arg(&path).output();
        output.ok().map(|output| {
            let said = [output.stdout, output.stderr].concat();
            (output.status.success(), String::from_utf8_lossy(&said).into_owned())
        })
    };
    let security = analyze(&["security", "--offline=true", "--threshold", THRESHOLD]);
    let verify = analyze(&["verify", "--man=no", "--recursive-errors=no"]);
    fs::remove_dir_all(&folder).expect("removed");
    let (Some((is_tight, judgement)), Some((is_valid, complaints))) = (security, verify) else {
        return eprintln!("skipped: no systemd-analyze");
    };
    assert!(is_tight, "{judgement}");
    assert!(is_valid && complaints.is_empty(), "{complaints}");
}

#[test]
fn the_packaged_configuration_is_valid() {
    let mut command = testkit::agent::ghostport();
    let output = testkit::agent::finish(command.args(["config", "check", "--config", CONFIG_FILE]));
    assert!(output.status.success(), "{}", testkit::agent::stderr(&output));
}
