//! What an agent, or a parser, that was taken over can still do.

use std::{
    fs::{self, Permissions},
    io::{self, Read as _, Write as _},
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::Path,
    process::{Command, Stdio},
    thread,
};

use monitor_kernel::confinement::{Role, confine};
use rustix::thread::CapabilitySet;
use testkit::{
    agent::{Agent, Config, binary, finish, ghostport, stderr},
    attacks::CALLS,
    eventually,
    privileges::{Privileges, SOMEBODY, ThreadStatus},
    world::{World, in_world, port},
};

/// Runs work on a thread with the credentials of an agent that packages run, with its filter or not.
fn as_agent<T: Send>(filter: Option<Role>, work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            Privileges::five(SOMEBODY).take().expect("privileges");
            if let Some(role) = filter {
                confine(role).expect("a filter");
            }
            work()
        });
        thread.join().expect("no panic")
    })
}

fn errno<T>(result: io::Result<T>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

#[test]
fn an_agent_that_is_taken_over_reaches_no_other_process() {
    in_world(|_| {
        let mut victim = Command::new("sleep").arg("60").spawn().expect("a process of root");
        let pid = victim.id();
        // Without the filter its credentials would do: this is what the filter is for.
        let call =
            |name: &str| CALLS.into_iter().find(|(known, _)| *known == name).expect("known").1;
        let write = call("process_vm_writev");
        assert_eq!(errno(as_agent(None, || write(pid))), None);
        for role in [Role::Agent, Role::Parser] {
            for (name, call) in CALLS {
                let refused = errno(as_agent(Some(role), || call(pid)));
                assert_eq!(refused, Some(libc::EPERM), "{name} as {role:?}");
            }
            let executed = as_agent(Some(role), || Command::new("/bin/true").status());
            assert!(executed.is_err(), "{role:?} executes a program");
        }
        victim.kill().expect("killed");
        victim.wait().expect("waited");
    });
}

/// Checks that a filter is before every thread's system calls.
#[track_caller]
fn assert_confined(pid: u32) {
    for thread in ThreadStatus::of_process(pid).expect("threads") {
        assert_eq!(thread.field("Seccomp"), "2", "{thread:?}");
        assert_eq!(thread.field("NoNewPrivs"), "1", "{thread:?}");
    }
}

#[test]
fn every_thread_of_the_agent_has_the_filter() {
    in_world(|world| {
        let agent = Agent::start(world, &Config::new([port(0)]).on(&["lo"]));
        assert!(agent.get("/api/v1/ports").status == 200 && agent.metrics().text.contains("bound"));
        assert_confined(agent.pid());
        let limits = fs::read_to_string(format!("/proc/{}/limits", agent.pid())).expect("limits");
        let core = limits.lines().find(|line| line.starts_with("Max core file size"));
        let core: Vec<&str> = core.expect("a limit").split_ascii_whitespace().collect();
        assert_eq!(core[4..6], ["0", "0"], "{limits}");
        assert!(!agent.log().contains("are not refused"), "{}", agent.log());
    });
}

#[test]
fn identify_parses_without_any_privilege() {
    let mut parser = ghostport()
        .args(["identify", "--udp", "--port", "2948", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("spawned");
    let none = || {
        let threads = ThreadStatus::of_process(parser.id()).ok()?;
        threads.first()?.field("Seccomp").eq("2").then_some(threads)
    };
    for thread in eventually("a confined parser", none) {
        for set in ["CapEff", "CapPrm", "CapInh", "CapAmb"] {
            assert_eq!(thread.set(set), CapabilitySet::empty(), "{set}");
        }
    }
    assert_confined(parser.id());
    parser.stdin.take().expect("piped").write_all(b"GET / HTTP/1.1\r\n\r\n").expect("written");
    let mut found = String::new();
    parser.stdout.take().expect("piped").read_to_string(&mut found).expect("read");
    assert!(found.contains("http"), "{found}");
    assert!(parser.wait().expect("waited").success());
}

/// What `config check` of this file says to an ordinary user, by a program whose file has the
/// capability to read everything.
fn checked(world: &World, config: &Path) -> String {
    let program = world.path("granted");
    fs::copy(binary(), &program).expect("copied");
    let granted = Command::new("setcap").arg("cap_dac_read_search+ep").arg(&program).status();
    assert!(granted.expect("setcap, of libcap2-bin").success());
    let mut command = Command::new(program);
    command.args(["config", "check", "--config"]).arg(config).uid(SOMEBODY).gid(SOMEBODY);
    stderr(&finish(&mut command))
}

#[test]
fn capabilities_of_the_program_show_no_file_to_its_users() {
    in_world(|world| {
        let secret = world.path("secret");
        fs::write(&secret, "root:hash-of-root\n").expect("written");
        fs::set_permissions(&secret, Permissions::from_mode(0o600)).expect("closed");
        let said = checked(world, &secret);
        assert!(said.contains("Permission denied") && !said.contains("hash"), "{said}");
        // A file that names it shows nothing of it either.
        let open = world.path("open.yaml");
        fs::write(&open, format!("web: {{config_file: {}}}\n", secret.display())).expect("written");
        let said = checked(world, &open);
        assert!(said.contains("Permission denied") && !said.contains("hash"), "{said}");
    });
}
