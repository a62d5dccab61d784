//! A listener by what stays the same across restarts.

use monitor_common::flow::Protocol;
use serde::{Deserialize, Serialize};

/// The executable of sockets that the kernel holds for itself, as those of NFS.
pub const KERNEL: &str = "[kernel]";

/// Users that systemd makes for `DynamicUser=` (systemd.exec(5)).
const DYNAMIC_USERS: std::ops::RangeInclusive<u32> = 61_184..=65_519;

/// From where a listener can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// From this host alone.
    Host,
    /// From elsewhere.
    World,
}

/// A socket that listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Transport protocol.
    pub protocol: Protocol,
    /// The port, never 0.
    pub port: u16,
    /// From where it can be reached.
    pub scope: Scope,
    /// Whether the program named the port; `false` if the kernel chose it, `None` if that is unknown.
    pub port_was_named: Option<bool>,
    /// What listens.
    pub program: Program,
}

/// A program by what stays the same across restarts. `None` stands for unknown, and for none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Program {
    /// Path of the executable; [`KERNEL`] for sockets of the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executable: Option<String>,
    /// systemd unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Effective user, by name or else by number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Image or name of the container; `*` for a container of which only the id is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
}

/// A program without what differs between two of its versions or instances.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ProgramKey {
    pub(super) executable: Option<String>,
    pub(super) unit: Option<String>,
    pub(super) user: Option<String>,
    pub(super) container: Option<String>,
}

impl Scope {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Host, Self::World];

    /// Its name in metrics and events.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::World => "world",
        }
    }
}

impl Program {
    pub(super) fn key(&self) -> ProgramKey {
        let is_contained = self.container.is_some();
        ProgramKey {
            executable: self.executable.as_deref().map(without_versions),
            // The unit of a container is named after its id.
            unit: self.unit.as_deref().filter(|_| !is_contained).map(without_instances),
            user: self.user.as_deref().map(|user| stable_user(user, is_contained)),
            container: self.container.clone(),
        }
    }
}

impl ProgramKey {
    /// Whether every field is known that a process on the host has.
    pub(super) const fn is_whole(&self) -> bool {
        self.executable.is_some() && self.user.is_some()
    }

    /// Whether both are the same, or one is not wholly known, nothing that is known differs, and
    /// executable, unit or container is the same.
    pub(super) fn may_be(&self, other: &Self) -> bool {
        if self.is_whole() && other.is_whole() {
            return self == other;
        }
        let are = |a: &Option<String>, b: &Option<String>| (a.is_some() && a == b, differ(a, b));
        let (executable, other_executable) = are(&self.executable, &other.executable);
        let (unit, other_unit) = are(&self.unit, &other.unit);
        let (container, _) = are(&self.container, &other.container);
        // A process outside of containers has none, which is known with its control group.
        let other_container = self.container != other.container;
        let other_user = differ(&self.user, &other.user);
        !(other_executable || other_unit || other_container || other_user)
            && (executable || unit || container)
    }
}

/// Whether both are known and not the same.
pub(super) fn differ(a: &Option<String>, b: &Option<String>) -> bool {
    a.is_some() && b.is_some() && a != b
}

/// A path with `*` for version numbers, and for the hashes of Nix: `/usr/bin/python3.13` and
/// `/usr/bin/python3.14` are the same program.
fn without_versions(path: &str) -> String {
    const STORE: &str = "/nix/store/";
    const HASH: usize = 32;
    let rest = path.strip_prefix(STORE).and_then(|rest| rest.get(HASH..));
    match rest {
        Some(rest) if rest.starts_with('-') => format!("{STORE}*{}", numbers_folded(rest)),
        _ => numbers_folded(path),
    }
}

/// A unit with `*` for numbers and ids: `session-3.scope` and `session-4.scope` are alike.
fn without_instances(unit: &str) -> String {
    let is_id = |part: &str| part.len() >= 8 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut text = String::new();
    let mut rest = unit;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let (part, after) = rest.split_at(end);
        // `run-r` before the id of a transient unit (`systemd-run`).
        let digits = part.strip_prefix('r').unwrap_or(part);
        if is_id(part) || is_id(digits) {
            text.push('*');
        } else {
            text.push_str(part);
        }
        let separator = after.chars().next().map_or(0, char::len_utf8);
        text.push_str(&after[..separator]);
        rest = &after[separator..];
    }
    numbers_folded(&text)
}

/// `text` with one `*` for each row of numbers with dots, dashes and underscores between them.
fn numbers_folded(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for char in text.chars() {
        if !char.is_ascii_digit() {
            folded.push(char);
            continue;
        }
        let joined = folded.strip_suffix(['.', '-', '_']).filter(|before| before.ends_with('*'));
        if let Some(length) = joined.map(str::len) {
            folded.truncate(length);
        } else if !folded.ends_with('*') {
            folded.push('*');
        }
    }
    folded
}

/// A user without what differs between two starts: the numbers of `DynamicUser=`, and the range that a
/// container with users of its own gets.
fn stable_user(user: &str, is_contained: bool) -> String {
    match user.parse::<u32>() {
        Ok(id) if is_contained && id > 0xffff => (id & 0xffff).to_string(),
        Ok(id) if DYNAMIC_USERS.contains(&id) => "dynamic".to_owned(),
        _ => user.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(executable: &str, unit: Option<&str>, user: &str) -> Program {
        Program {
            executable: Some(executable.to_owned()),
            unit: unit.map(str::to_owned),
            user: Some(user.to_owned()),
            container: None,
        }
    }

    fn same(a: &Program, b: &Program) -> bool {
        a.key() == b.key()
    }

    #[test]
    fn an_upgrade_is_the_same_program() {
        for (old, new) in [
            ("/usr/bin/python3.13", "/usr/bin/python3.14"),
            ("/usr/lib/postgresql/15/bin/postgres", "/usr/lib/postgresql/16.1/bin/postgres"),
            ("/opt/app-1.2.3/bin/app", "/opt/app-1.10/bin/app"),
            ("/snap/lxd/24322/bin/lxd", "/snap/lxd/25112/bin/lxd"),
            (
                "/nix/store/0c8lcpvi8kcbqkz5l6nw7avf7yd0pcfd-nginx-1.26.1/bin/nginx",
                "/nix/store/zz9lcpvi8kcbqkz5l6nw7avf7yd0pcfd-nginx-1.27/bin/nginx",
            ),
        ] {
            assert!(same(&program(old, None, "a"), &program(new, None, "a")), "{old}");
        }
        for (one, other) in [("/usr/bin/nc", "/usr/bin/nd"), ("/usr/bin/nc", "/bin/nc")] {
            assert!(!same(&program(one, None, "a"), &program(other, None, "a")), "{one}");
        }
    }

    #[test]
    fn instances_of_a_unit_are_alike() {
        for (one, other) in [
            ("session-3.scope", "session-41.scope"),
            ("ssh@7-10.0.0.1:22-10.0.0.2:5000.service", "ssh@8-10.0.0.1:22-10.0.0.9:1.service"),
            ("run-r83ab01cdef45.scope", "run-rfe01cdef4583.scope"),
            ("app-gnome-firefox-1234.scope", "app-gnome-firefox-99.scope"),
        ] {
            let of = |unit| program("/x", Some(unit), "a");
            assert!(same(&of(one), &of(other)), "{one}");
        }
        let of = |unit| program("/x", Some(unit), "a");
        assert!(!same(&of("kannel.service"), &of("kannel-beef.service")));
        assert!(!same(&of("a@blue.service"), &of("a@green.service")));
    }

    #[test]
    fn a_container_under_another_id_is_the_same() {
        let pod = |id: &str, user: &str| Program {
            executable: Some("/app".into()),
            unit: Some(format!("cri-containerd-{id}.scope")),
            user: Some(user.into()),
            container: Some("*".into()),
        };
        assert!(same(&pod("4c01db0b339c", "0"), &pod("zz", "0")));
        assert!(same(&pod("a", "231073"), &pod("b", "296609")), "users of their own: 1697");
        assert!(!same(&pod("a", "231073"), &pod("b", "296610")));
        assert!(same(&program("/x", None, "61200"), &program("/x", None, "65000")));
    }

    #[test]
    fn what_is_unknown_differs_from_nothing() {
        let whole = program("/usr/sbin/bearerbox", Some("kannel.service"), "kannel").key();
        let ended = Program { executable: None, ..program("", Some("kannel.service"), "kannel") };
        let root = Program { user: Some("root".into()), ..Program::default() };
        assert!(whole.may_be(&ended.key()) && ended.key().may_be(&whole));
        assert!(!whole.may_be(&root.key()), "another user");
        let user = Program { user: Some("kannel".into()), ..Program::default() };
        assert!(!whole.may_be(&user.key()), "a user alone is no program");
        assert!(!whole.may_be(&Program::default().key()), "nothing is known");
        let contained = Program { container: Some("*".into()), ..ended };
        assert!(!whole.may_be(&contained.key()), "another place");
    }
}
