//! Programs that pretend to be an expected one.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::Value;
use testkit::{
    agent::{Agent, Config},
    calls::MECHANISMS,
    eventually, eventually_within,
    impostor::{Impostor, PRETENDED, Trick},
    world::{in_world, port},
};

/// How often a trick is tried under each mechanism.
const TRIES: usize = 50;

/// Longer than the next scan of the sockets takes to come, also on a machine that is so busy that a scan
/// takes seconds: a hundred times as long passes between two.
const SCAN: Duration = Duration::from_secs(600);

fn watched() -> u16 {
    port(0)
}

/// The program that is expected, and that all of them pretend to be.
fn pretended() -> PathBuf {
    let found = ["/usr/bin", "/bin"].map(|folder| Path::new(folder).join(PRETENDED));
    let found = found.into_iter().find(|path| path.exists()).expect("a program");
    fs::canonicalize(found).expect("a path")
}

fn expecting(executable: &Path) -> Config {
    let keys = format!("expect: [{{exe: {}}}]", executable.display());
    Config::new([watched()]).with_port_keys(&keys)
}

/// Whether the mechanism is one of this kernel's.
fn sees_binds_by(agent: &Agent, mechanism: &str) -> bool {
    let labels = [("hook", "bind"), ("mechanism", mechanism)];
    agent.metrics().sum("ghostport_hook_attached", &labels) == 1
}

/// An agent for each mechanism that this kernel has, which expects the program.
fn by_every_mechanism(executable: &Path, test: fn(&Agent, &str, &Path)) {
    for mechanism in MECHANISMS {
        in_world(|world| {
            let agent = Agent::start(world, &expecting(executable).mechanism(mechanism));
            if !sees_binds_by(&agent, mechanism) {
                return eprintln!("skipped: no {mechanism} here");
            }
            test(&agent, mechanism, executable);
        });
    }
}

/// The event of this kind of a process.
fn event_of(agent: &Agent, kind: &str, pid: u32) -> Option<Value> {
    let name = format!("ghostport.{kind}");
    let is_it = |event: &Value| event["event.name"] == *name && event["process.pid"] == pid;
    agent.events().into_iter().rfind(is_it)
}

#[test]
fn what_is_executed_after_a_bind_does_not_make_it_expected() {
    by_every_mechanism(&pretended(), |agent, mechanism, pretended| {
        let mut at_same_place = 0;
        for attempt in 0..TRIES {
            let impostor = Impostor::start(Trick::ExecutesLater, watched(), pretended);
            at_same_place += usize::from(impostor.arguments_now() == impostor.arguments_at);
            let pid = impostor.pid();
            let bind = eventually("its bind", || event_of(agent, "bind", pid));
            assert_eq!(bind["ghostport.expected"], false, "{mechanism}, {attempt}: {bind}");
        }
        // Otherwise the attempts were none.
        assert!(at_same_place > TRIES / 2, "{mechanism}: {at_same_place}");
        // A scan may judge one more that still holds its socket.
        assert!(agent.count_events("unexpected_owner") >= TRIES, "{mechanism}");
    });
}

#[test]
fn an_executable_that_a_user_namespace_claims_is_not_expected() {
    by_every_mechanism(&pretended(), |agent, mechanism, pretended| {
        let impostor = Impostor::start(Trick::ClaimsIt, watched(), pretended);
        let pid = impostor.pid();
        assert_eq!(impostor.executable().as_deref(), Some(pretended));
        let bind = eventually("its bind", || event_of(agent, "bind", pid));
        assert_eq!(bind["ghostport.expected"], false, "{mechanism}: {bind}");
        let event = eventually("its event", || event_of(agent, "unexpected_owner", pid));
        assert_eq!(event["network.local.port"], watched(), "{event}");
    });
}

/// An expected program that executes another one, which keeps the socket.
#[test]
fn a_program_that_takes_the_place_of_an_expected_one_is_judged() {
    in_world(|world| {
        let this = std::env::current_exe().expect("a path");
        let agent = Agent::start(world, &expecting(&this));
        let impostor = Impostor::start(Trick::HandsOn, watched(), &pretended());
        let bind = eventually("its bind", || event_of(&agent, "bind", impostor.pid()));
        assert_eq!(bind["ghostport.expected"], true, "{bind}");
        let event = eventually_within(SCAN, "the event of the successor", || {
            event_of(&agent, "unexpected_owner", impostor.pid())
        });
        assert_eq!(event["process.executable.path"], *pretended().to_string_lossy(), "{event}");
    });
}

/// A copy of a program at a place of its own, as a package would install it.
struct Installed(PathBuf);

impl Installed {
    fn new(program: &Path) -> Self {
        let folder = std::env::temp_dir();
        let path = folder.join(format!("ghostport-daemon-{}", std::process::id()));
        fs::copy(program, &path).expect("copied");
        Self(path)
    }

    /// Replaces the file, as a package manager does.
    fn upgrade(&self) {
        let new = self.0.with_extension("dpkg-new");
        fs::copy(&self.0, &new).expect("copied");
        fs::rename(new, &self.0).expect("renamed");
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn an_upgrade_of_an_expected_program_that_runs_is_no_alarm() {
    in_world(|world| {
        let installed = Installed::new(&std::env::current_exe().expect("a path"));
        let agent = Agent::start(world, &expecting(&installed.0));
        let mut daemon = Impostor::honest(&installed.0, watched());
        installed.upgrade();
        daemon.bind();
        let bind = eventually("its bind", || event_of(&agent, "bind", daemon.pid()));
        assert_eq!(bind["ghostport.expected"], true, "{bind}");
        assert_eq!(bind["process.executable.path"], *installed.0.to_string_lossy(), "{bind}");
        let port = watched().to_string();
        let sum = |agent: &Agent, name: &str| agent.metrics().sum(name, &[("port", &port)]);
        eventually_within(SCAN, "a scan", || {
            (sum(&agent, "ghostport_bound_sockets") == 1).then_some(())
        });
        assert_eq!(sum(&agent, "ghostport_unexpected_sockets"), 0);
        // The next agent knows the file that was replaced, too.
        agent.kill9();
        let agent = Agent::start(world, &expecting(&installed.0));
        eventually_within(SCAN, "a scan", || {
            (sum(&agent, "ghostport_bound_sockets") == 1).then_some(())
        });
        assert_eq!(sum(&agent, "ghostport_unexpected_sockets"), 0, "{}", agent.log());
        assert_eq!(agent.count_events("unexpected_owner"), 0);
        // The same file at another place is another program.
        let other = Installed(installed.0.with_extension("other"));
        fs::copy(&installed.0, &other.0).expect("copied");
        let mut copy = Impostor::honest(&other.0, watched());
        drop(daemon);
        copy.bind();
        let bind = eventually("its bind", || event_of(&agent, "bind", copy.pid()));
        assert_eq!(bind["ghostport.expected"], false, "{bind}");
    });
}
