//! Whether the configuration expects the owners of sockets.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use monitor_common::flow::{Protocol, Side};

use super::socket::Socket;
use crate::{
    config::{self, Config, Expectation, Judgement, ListenersConfig, Owner, OwnerFile},
    process::{Evidence, ExecutableFacts, Identity, start_time::StartTime},
};

/// A process by its id and the clock tick in which it was made.
type Key = (u32, u64);

/// A socket without a peer by port, protocol and network namespace: connections to it have the same.
type Place = (u16, Protocol, Option<u32>);

/// Compares owners of sockets with the configuration.
///
/// An executable that an upgrade replaces while it runs is no longer the file of its path. The
/// process is still the expected one, so the files of holders are remembered from scan to scan.
#[derive(Clone, Debug, Default)]
pub struct ExpectedOwners {
    /// Paths of executables that were the host's own file of that path when a scan found them.
    executables: HashMap<Key, String>,
}

impl ExpectedOwners {
    /// Whether one of `expectations` allows `process`.
    pub fn include<'a>(
        &self,
        process: &Identity,
        expectations: impl IntoIterator<Item = &'a Expectation>,
    ) -> bool {
        config::is_expected(expectations, &self.owner(process), today())
    }

    /// As [`Self::include`], where the file that `process` executes may not be known yet.
    pub fn judge_process<'a>(
        &self,
        process: &Identity,
        expectations: impl IntoIterator<Item = &'a Expectation>,
    ) -> Judgement {
        config::judge(expectations, &self.owner(process), today())
    }

    /// Compares the holders of `sockets`, which are all that a scan found, with `config`, and sets
    /// [`Socket::expected`].
    pub fn judge(&mut self, sockets: &mut [Socket], config: &Config) {
        self.remember(&*sockets);
        let mut places = HashSet::new();
        for socket in sockets.iter_mut().filter(|socket| socket.side == Side::Local) {
            let expect = config.port(socket.port).map_or(&[][..], |port| &port.expect);
            socket.expected = self.expects(socket, expect);
            if socket.expected == Some(true) && socket.entry.peer.is_none() {
                places.insert(place(socket));
            }
        }
        // A connection is its listener's, whether it is waiting to be accepted, was passed to another
        // program or is being closed.
        let connections = sockets.iter_mut().filter(|socket| socket.entry.peer.is_some());
        for socket in connections.filter(|socket| socket.side == Side::Local) {
            if places.contains(&place(socket)) {
                socket.expected = Some(true);
            }
        }
    }

    /// Whether a holder of a listener cannot be judged yet.
    pub fn is_listener_pending(&self, socket: &Socket, config: &ListenersConfig) -> bool {
        let is_pending = |holder: &Arc<Identity>| {
            let expectations = config.of_port(socket.port);
            self.judge_process(holder, expectations) == Judgement::Pending
        };
        socket.holders.iter().any(is_pending)
    }

    /// Whether `config` expects all holders of a listener.
    pub fn expect_listener(&self, socket: &Socket, config: &ListenersConfig) -> bool {
        let expectations: Vec<Expectation> = config.of_port(socket.port).cloned().collect();
        !expectations.is_empty()
            && !socket.holders.is_empty()
            && self.unexpected(socket, &expectations).is_empty()
    }

    /// Remembers the executables of the processes that hold `sockets`, and forgets all others.
    pub fn remember<'a>(&mut self, sockets: impl IntoIterator<Item = &'a Socket>) {
        let mut executables = HashMap::new();
        for holder in sockets.into_iter().flat_map(|socket| &socket.holders) {
            let (Some(key), Some(executable)) = (key(holder), &holder.executable) else { continue };
            let is_own = !executable.is_deleted && holder.executable_is_hosts;
            if (is_own || self.was_own(holder)) && !executables.contains_key(&key) {
                executables.insert(key, executable.path.clone());
            }
        }
        self.executables = executables;
    }

    /// The holders of the socket that none of `expectations` allows, as far as they can be judged yet.
    /// systemd, which holds the sockets of its units, is none beside an expected one.
    pub fn unexpected<'a>(
        &self,
        socket: &'a Socket,
        expectations: &[Expectation],
    ) -> Vec<&'a Identity> {
        let is_expected = |holder: &Identity| {
            self.include(holder, expectations) || self.includes_manager(holder, expectations)
        };
        let holders = || socket.holders.iter().map(Arc::as_ref);
        // One that cannot be judged yet may be expected.
        let may_be_expected = |holder: &Identity| {
            is_expected(holder) || self.judge_process(holder, expectations) == Judgement::Pending
        };
        let has_expected = holders().any(may_be_expected);
        let is_fine =
            |holder: &Identity| may_be_expected(holder) || (has_expected && is_systemd(holder));
        holders().filter(|holder| !is_fine(holder)).collect()
    }

    /// Whether expected processes alone hold the socket; `None` if that cannot be judged yet, or if no
    /// holder is known and processes are expected, one of which may hold it.
    fn expects(&self, socket: &Socket, expect: &[Expectation]) -> Option<bool> {
        if socket.holders.is_empty() {
            return expect.is_empty().then_some(false);
        }
        if !self.unexpected(socket, expect).is_empty() {
            return Some(false);
        }
        let is_pending =
            |holder: &Identity| self.judge_process(holder, expect) == Judgement::Pending;
        (!socket.holders.iter().any(|holder| is_pending(holder))).then_some(true)
    }

    /// Whether `process` is systemd and holds its sockets for a socket unit that is expected.
    fn includes_manager(&self, process: &Identity, expectations: &[Expectation]) -> bool {
        let owner = self.owner(process);
        let today = today();
        let mut in_force = expectations.iter().filter(|entry| entry.is_in_force(today));
        is_systemd(process) && in_force.any(|entry| entry.allows_manager_of_sockets(&owner))
    }

    /// A process as the configuration describes owners. A file that was deleted before the first
    /// scan that found the process may never have been the one at its path.
    fn owner<'a>(&self, process: &'a Identity) -> Owner<'a> {
        let cgroup = process.cgroup.as_deref();
        let was_own = self.was_own(process);
        let is_hosts = process.executable_is_hosts || was_own;
        let executable = process.executable.as_ref().filter(|file| !file.is_deleted || is_hosts);
        let unit = cgroup.and_then(|cgroup| cgroup.unit.as_ref());
        Owner {
            executable: executable.map(|executable| executable.path.as_str()),
            executable_is_hosts: is_hosts,
            is_in_hosts_user_namespace: process.is_in_hosts_user_namespace,
            is_in_hosts_mount_namespace: process.is_in_hosts_mount_namespace,
            user_name: process.effective_user.as_ref().and_then(|user| user.name.as_deref()),
            user_id: process.effective_user.as_ref().map(|user| user.id),
            systemd_unit: unit.filter(|unit| unit.is_of_system()).map(|unit| unit.name.as_str()),
            container_id: cgroup.and_then(|cgroup| cgroup.container_id.as_deref()),
            file: match &process.evidence {
                Evidence::Pending => None,
                Evidence::Known(facts) => Some(owners_file(facts)),
            },
        }
    }

    /// Whether the executable has been deleted, and was the host's own file of its path before.
    fn was_own(&self, process: &Identity) -> bool {
        let deleted = process.executable.as_ref().filter(|executable| executable.is_deleted);
        let known = key(process).and_then(|key| self.executables.get(&key));
        known.is_some() && deleted.map(|executable| &executable.path) == known
    }
}

fn owners_file(facts: &ExecutableFacts) -> OwnerFile<'_> {
    let file = &facts.file;
    let package = file.package.as_ref().filter(|_| file.is_modified == Some(false));
    OwnerFile {
        sha256: file.sha256.as_deref(),
        package: package.map(|package| package.name.as_str()),
    }
}

/// The day in UTC, which ends entries of `expect`.
fn today() -> Date {
    Timestamp::now().to_zoned(TimeZone::UTC).date()
}

fn is_systemd(process: &Identity) -> bool {
    let executable = process.executable.as_ref();
    process.pid == 1 && executable.is_some_and(|file| file.path.ends_with("/systemd"))
}

fn key(process: &Identity) -> Option<Key> {
    Some((process.pid, StartTime::at(process.start_time_ns?).latest()))
}

const fn place(socket: &Socket) -> Place {
    (socket.port, socket.entry.protocol, socket.netns_inode)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::WatchedPort,
        process::Executable,
        sockets::{Entry, udp_socket},
    };

    const BEARERBOX: &str = "/usr/sbin/bearerbox";
    const PORT: u16 = 2948;

    /// A configuration that expects one program on the port.
    fn config() -> Config {
        let exe = Expectation { exe: BEARERBOX.parse().ok(), ..Expectation::default() };
        let port = WatchedPort { expect: vec![exe], ..WatchedPort::new(PORT) };
        Config { ports: vec![port, WatchedPort::new(2949)], ..Config::default() }
    }

    fn process(pid: u32, path: &str, is_deleted: bool) -> Identity {
        Identity {
            start_time_ns: Some(5_000_000_000),
            executable: Some(Executable { path: path.to_owned(), is_deleted }),
            executable_is_hosts: !is_deleted,
            is_in_hosts_user_namespace: true,
            is_in_hosts_mount_namespace: true,
            ..Identity::unknown(pid)
        }
    }

    fn held_by(holders: Vec<Identity>) -> Socket {
        Socket { holders: holders.into_iter().map(Arc::new).collect(), ..udp_socket(PORT) }
    }

    fn connection(holders: Vec<Identity>) -> Socket {
        let mut socket = held_by(holders);
        socket.entry = Entry { peer: Some(([127, 0, 0, 1], 9).into()), ..socket.entry };
        socket
    }

    fn judged(owners: &mut ExpectedOwners, mut sockets: Vec<Socket>) -> Vec<Option<bool>> {
        owners.judge(&mut sockets, &config());
        sockets.iter().map(|socket| socket.expected).collect()
    }

    fn of_new(sockets: Vec<Socket>) -> Vec<Option<bool>> {
        judged(&mut ExpectedOwners::default(), sockets)
    }

    #[test]
    fn every_holder_is_judged() {
        let own = process(7, BEARERBOX, false);
        let other = process(8, "/usr/bin/nc", false);
        let sockets = vec![
            held_by(vec![own.clone()]),
            held_by(vec![other.clone()]),
            held_by(vec![other, own]),
        ];
        assert_eq!(of_new(sockets), [Some(true), Some(false), Some(false)]);
    }

    #[test]
    fn systemd_beside_an_expected_holder_is_none_of_its_own() {
        let systemd = process(1, "/usr/lib/systemd/systemd", false);
        let named_so = process(7, "/tmp/systemd", false);
        let own = process(8, BEARERBOX, false);
        let sockets = vec![
            held_by(vec![systemd.clone(), own.clone()]),
            held_by(vec![systemd]),
            held_by(vec![named_so, own]),
        ];
        assert_eq!(of_new(sockets), [Some(true), Some(false), Some(false)]);
    }

    #[test]
    fn without_expectations_no_owner_is_expected() {
        let known = Socket { port: 2949, ..held_by(vec![process(7, BEARERBOX, false)]) };
        let unknown = Socket { port: 2949, ..held_by(vec![]) };
        let unwatched = Socket { port: 80, ..held_by(vec![]) };
        assert_eq!(of_new(vec![known, unknown, unwatched]), [Some(false); 3]);
    }

    #[test]
    fn systemd_holds_sockets_for_the_socket_units_that_are_expected() {
        let of_unit = |unit: &str| {
            let unit = unit.parse().expect("a unit");
            let expected = Expectation { unit: Some(unit), ..Expectation::default() };
            let port = WatchedPort { expect: vec![expected], ..WatchedPort::new(PORT) };
            let config = Config { ports: vec![port], ..Config::default() };
            let holders =
                [process(1, "/usr/lib/systemd/systemd", false), process(7, "/tmp/systemd", false)];
            let mut sockets = holders.map(|holder| held_by(vec![holder]));
            ExpectedOwners::default().judge(&mut sockets, &config);
            sockets.map(|socket| socket.expected)
        };
        assert_eq!(of_unit("wap*.socket"), [Some(true), Some(false)]);
        assert_eq!(of_unit("wap.service"), [Some(false), Some(false)]);
    }

    #[test]
    fn an_unknown_holder_may_be_expected() {
        assert_eq!(of_new(vec![held_by(vec![])]), [None]);
    }

    #[test]
    fn a_connection_is_its_listeners() {
        let listener = held_by(vec![process(7, BEARERBOX, false)]);
        let child = vec![process(8, "/usr/bin/handler", false)];
        let elsewhere = Socket { netns_inode: Some(1), ..connection(child.clone()) };
        let sockets = vec![listener, connection(child.clone()), connection(vec![]), elsewhere];
        assert_eq!(of_new(sockets), [Some(true), Some(true), Some(true), Some(false)]);
        assert_eq!(of_new(vec![connection(child)]), [Some(false)], "without a listener");
    }

    #[test]
    fn clients_of_the_port_elsewhere_are_not_judged() {
        let client =
            Socket { side: Side::Remote, ..connection(vec![process(7, BEARERBOX, false)]) };
        assert_eq!(of_new(vec![client]), [None]);
    }

    #[test]
    fn a_process_stays_expected_when_its_file_is_replaced() {
        let replaced = process(7, BEARERBOX, true);
        assert_eq!(
            of_new(vec![held_by(vec![replaced.clone()])]),
            [Some(false)],
            "never seen before"
        );
        let mut owners = ExpectedOwners::default();
        let at_first = vec![held_by(vec![process(7, BEARERBOX, false)])];
        assert_eq!(judged(&mut owners, at_first), [Some(true)]);
        let later = Identity { start_time_ns: Some(6_000_000_000), ..replaced.clone() };
        for _ in 0..2 {
            let sockets = vec![held_by(vec![replaced.clone()]), held_by(vec![later.clone()])];
            assert_eq!(judged(&mut owners, sockets), [Some(true), Some(false)]);
        }
        assert!(owners.include(&replaced, &config().ports[0].expect));
        let other = process(7, "/tmp/bearerbox", true);
        assert_eq!(judged(&mut owners, vec![held_by(vec![other])]), [Some(false)]);
    }
}
