//! Processes that make a reader of them wait delay no event of others.

use std::{
    env,
    net::UdpSocket,
    process::Command,
    time::{Duration, Instant},
};

use serde_json::Value;
use testkit::{
    agent::{Agent, Config, finish, ghostport, stdout},
    eventually,
    hanging_mount::HangingMount,
    stuck::StuckProcess,
    world::{World, in_world, port},
};

/// Binds of others while a process is stuck.
const BINDS: usize = 50;

/// Time in which their events are there: a process delays the first of them by a deadline.
const SOON: Duration = Duration::from_secs(1);

/// Time in which a command and the agent end.
const END: Duration = Duration::from_secs(5);

fn watched() -> u16 {
    port(0)
}

fn others() -> u16 {
    port(1)
}

fn config() -> Config {
    Config::new([watched(), others()])
}

/// A process that waits for a file system. The file system goes first: nothing else ends the wait.
struct Waiting {
    mount: HangingMount,
    process: StuckProcess,
}

/// A process whose memory map is locked.
fn with_a_locked_memory_map(world: &World) -> Option<Waiting> {
    let mount = hanging(world, "page")?;
    mount.hang_reads();
    let process = StuckProcess::start(&this(), watched(), Some(&mount.file()));
    Some(Waiting { mount, process })
}

/// A file system whose file is a copy of the test program.
fn hanging(world: &World, name: &'static str) -> Option<HangingMount> {
    let mount = HangingMount::new(&world.path("hanging"), name, &this());
    if mount.is_none() {
        eprintln!("skipped: no FUSE here");
    }
    mount
}

fn this() -> std::path::PathBuf {
    env::current_exe().expect("a path")
}

fn of_port(events: &[Value], port: u16) -> Vec<&Value> {
    let is_bind = |event: &&Value| {
        event["event.name"] == "ghostport.bind" && event["network.local.port"] == port
    };
    events.iter().filter(is_bind).collect()
}

/// Lets the process bind, and checks that nothing else waits for it. Returns the event of its bind.
fn stays_live(world: &World, agent: Agent, process: &mut StuckProcess) -> Value {
    process.bind();
    let pid = process.pid();
    let event = eventually("the event of the stuck process", || {
        of_port(&agent.events(), watched()).first().map(|event| (*event).clone())
    });
    assert_eq!(event["process.pid"], pid);
    let began = Instant::now();
    for _ in 0..BINDS {
        drop(UdpSocket::bind(("127.0.0.1", others())).expect("bound"));
    }
    eventually("the events of others", || {
        (of_port(&agent.events(), others()).len() == BINDS).then_some(())
    });
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    assert_eq!(agent.get("/readyz").status, 200);
    holder_is_shown(world, pid);
    // By now the agent has scanned, and a read may hang.
    eventually("a scan", || {
        agent.get("/api/v1/ports").body.contains(&pid.to_string()).then_some(())
    });
    let began = Instant::now();
    assert_eq!(agent.terminate().code(), Some(0));
    assert!(began.elapsed() < END, "{:?}", began.elapsed());
    event
}

fn holder_is_shown(world: &World, pid: u32) {
    let began = Instant::now();
    let output =
        finish(ghostport().args(["check", "--json", "--config"]).arg(config().write(world)));
    assert!(began.elapsed() < END, "{:?}", began.elapsed());
    let report: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    let ports = report["ports"].as_array().expect("ports");
    let port = ports.iter().find(|found| found["port"] == watched()).expect("the port");
    assert_eq!(port["sockets"][0]["holders"][0]["pid"], pid, "{port:#}");
}

/// Whether a read of the command line hangs.
fn hangs(pid: u32) -> bool {
    let read =
        Command::new("timeout").args(["0.5", "cat", &format!("/proc/{pid}/cmdline")]).output();
    read.expect("timeout").status.code() == Some(124)
}

#[test]
fn a_process_with_a_locked_memory_map_delays_no_other() {
    in_world(|world| {
        let Some(mut waiting) = with_a_locked_memory_map(world) else { return };
        let process = &mut waiting.process;
        assert!(hangs(process.pid()));
        let agent = Agent::start(world, &config());
        let abandoned = |agent: &Agent, reason| {
            agent.metrics().value("ghostport_process_reads_abandoned_total", &[("reason", reason)])
        };
        assert_eq!(abandoned(&agent, "refused"), 0.0);
        let event = stays_live(world, agent, process);
        // What the kernel side captured is known: the beginning of the command line.
        let arguments = event["process.command_args"].as_array().expect("arguments");
        assert_eq!(arguments[1], "--exact", "{event:#}");
        let path = event["process.executable.path"].as_str().expect("a path");
        assert_eq!(std::path::Path::new(path), this());
    });
}

#[test]
fn reads_that_are_given_up_are_counted() {
    in_world(|world| {
        let Some(mut waiting) = with_a_locked_memory_map(world) else { return };
        let process = &mut waiting.process;
        let agent = Agent::start(world, &config());
        process.bind();
        eventually("a read that is given up", || {
            let labels = [("reason", "timeout")];
            let abandoned =
                agent.metrics().value("ghostport_process_reads_abandoned_total", &labels);
            (abandoned > 0.0).then_some(())
        });
        assert!(agent.metrics().value("ghostport_pipeline_busy_seconds", &[]) < 1.0);
    });
}

/// Its executable has a name that the kernel would give to a deleted one, so the path is looked up as
/// well.
#[test]
fn an_executable_on_a_file_system_that_hangs_delays_no_event() {
    in_world(|world| {
        let Some(mount) = hanging(world, "program (deleted)") else { return };
        let process = StuckProcess::start(&mount.file(), watched(), None);
        let mut waiting = Waiting { mount, process };
        let agent = Agent::start(world, &config());
        waiting.mount.hang();
        let event = stays_live(world, agent, &mut waiting.process);
        let path = event["process.executable.path"].as_str().expect("a path");
        assert!(path.starts_with(
            waiting.mount.file().to_str().expect("UTF-8").trim_end_matches(" (deleted)")
        ));
        assert_eq!(event["ghostport.expected"], false);
    });
}
