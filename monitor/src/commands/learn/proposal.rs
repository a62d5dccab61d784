//! Which entries are proposed, and which are not, and why. Pure.

use std::time::Duration;

use jiff::Timestamp;
use monitor_ledger::listeners::KERNEL;

use super::evidence::{Binder, Evidence, Seen};
use crate::{
    config::{
        Addition, Additions, Config, Expectation, ListenerExpectation, ListenerPorts, Pattern,
        PortRange, quantity,
    },
    terminal::{escape::escaped, plural::counted},
};

/// Folders where every user may put a program.
const OPEN_FOLDERS: [&str; 4] = ["/tmp/", "/var/tmp/", "/dev/shm/", "/run/user/"];

/// What is proposed.
#[derive(Debug)]
pub(super) struct Proposal {
    /// What may be added to a configuration.
    pub(super) additions: Additions,
    /// What is not, a sentence each.
    pub(super) left_out: Vec<String>,
    /// What would still have raised an alarm, a sentence each.
    pub(super) alarms: Vec<String>,
}

impl Proposal {
    /// What the evidence speaks for.
    pub(super) fn new(evidence: &Evidence, config: &Config, now: Timestamp) -> Self {
        let mut proposal =
            Self { additions: Additions::default(), left_out: Vec::new(), alarms: Vec::new() };
        for ((port, binder), seen) in &evidence.binds {
            let what = format!("{} of {port}, {}", count(seen, "bind", now), who(binder));
            if config.port(*port).is_none() {
                proposal.left_out.push(format!("{what}: the port is not watched any more"));
                continue;
            }
            if let Some(owner) = proposal.owner(binder, seen, &what) {
                let of_port = proposal.additions.ports.entry(*port).or_default();
                let evidence = format!("{}, {}", count(seen, "bind", now), who(binder));
                of_port.push(Addition { entry: owner, evidence });
            }
        }
        for (((first, last), binder), seen) in &evidence.listeners {
            let ports = PortRange::between(*first, *last);
            let what = format!("listens on {ports}, {}, {}", count(seen, "time", now), who(binder));
            if let Some(owner) = proposal.owner(binder, seen, &what) {
                let evidence = format!("opened {}, {}", count(seen, "time", now), who(binder));
                let entry = ListenerExpectation { ports: ListenerPorts::Range(ports), owner };
                proposal.additions.listeners.push(Addition { entry, evidence });
            }
        }
        proposal
    }

    /// The entry for a program. One that is left out is noted.
    fn owner(&mut self, binder: &Binder, seen: &Seen, what: &str) -> Option<Expectation> {
        match expectation(binder) {
            Ok(owner) => Some(owner),
            Err(why) => {
                self.left_out.push(format!("{what}: {why}"));
                if seen.alarmed {
                    self.alarms.push(what.to_owned());
                }
                None
            }
        }
    }
}

/// The entry that allows a program, or why there is none.
fn expectation(binder: &Binder) -> Result<Expectation, &'static str> {
    let Some(path) = &binder.executable else { return Err("its executable is not known") };
    if path == KERNEL {
        return Err("the kernel holds it, and no program does");
    }
    if binder.is_deleted {
        return Err("its executable was deleted, so that no path stands for it");
    }
    if OPEN_FOLDERS.iter().any(|folder| path.starts_with(folder)) {
        return Err("every user may put a program there");
    }
    let unit = binder.unit.as_deref();
    if unit.is_some_and(|unit| unit.starts_with("session-")) {
        return Err("it was started by hand in a session");
    }
    // A path with the characters of a glob would mean other programs, and not this one.
    let exact = path.parse::<Pattern>().ok().filter(Pattern::is_exact);
    let Some(exe) = exact else { return Err("its path cannot be a pattern") };
    // A container's unit is named after its id.
    let unit =
        unit.filter(|_| !binder.is_contained).and_then(|unit| any_instance(unit).parse().ok());
    Ok(Expectation {
        exe: Some(exe),
        sha256: None,
        package: None,
        user: binder.user.as_deref().map(Into::into),
        unit,
        container: binder.is_contained.then(|| "*".parse().ok()).flatten(),
        until: None,
    })
}

/// `ssh@*.service` for an instance of a template.
fn any_instance(unit: &str) -> String {
    match (unit.split_once('@'), unit.rsplit_once('.')) {
        (Some((template, _)), Some((_, suffix))) => format!("{template}@*.{suffix}"),
        _ => unit.to_owned(),
    }
}

/// `12 binds, last 2 days ago`.
fn count(seen: &Seen, what: &str, now: Timestamp) -> String {
    let ago = now.duration_since(seen.last).as_secs().max(0).unsigned_abs();
    let ago = match ago {
        86_400.. => format!("{} ago", counted(ago / 86_400, "day", "days")),
        3_600.. => {
            format!("{} ago", quantity::format_duration(Duration::from_secs(ago / 3600 * 3600)))
        }
        _ => "within the last hour".to_owned(),
    };
    format!("{}, last {ago}", counted(seen.times, what, &format!("{what}s")))
}

/// `by /usr/sbin/bearerbox of kannel.service`.
fn who(binder: &Binder) -> String {
    let program = binder.executable.as_deref().unwrap_or("an unknown program");
    let place = match (&binder.unit, binder.is_contained) {
        (_, true) => " in a container".to_owned(),
        (Some(unit), false) => format!(" of {unit}"),
        (None, false) => String::new(),
    };
    // It becomes a comment of one line, and names of files may contain anything.
    escaped(&format!("by {program}{place}")).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn line(port: u16, exe: &str, more: &str) -> String {
        format!(
            r#"{{"time":"2027-01-13T08:00:00Z","event.name":"ghostport.bind","network.local.port":{port},"process.executable.path":"{exe}","process.user.name":"kannel"{more}}}"#
        )
    }

    fn proposal(lines: &[String]) -> Proposal {
        let mut evidence = Evidence::default();
        lines.iter().for_each(|line| evidence.add_event(line));
        let now = Timestamp::from_second(NOW).expect("a time");
        Proposal::new(&evidence, &Config::default(), now)
    }

    #[test]
    fn proposes_a_service_with_its_evidence() {
        let unit = r#","ghostport.systemd_unit":"kannel.service""#;
        let bind = line(2948, "/usr/sbin/bearerbox", unit);
        let sum = line(2948, "/usr/sbin/bearerbox", &format!("{unit},\"ghostport.count\":10"));
        let found = proposal(&[bind.clone(), bind, sum]);
        let [only] = &found.additions.ports[&2948][..] else { panic!("{found:?}") };
        assert_eq!(
            only.evidence,
            "12 binds, last 2 days ago, by /usr/sbin/bearerbox of kannel.service"
        );
        assert_eq!(only.entry.unit, "kannel.service".parse().ok());
        assert_eq!(only.entry.user, Some("kannel".into()));
        assert!(found.left_out.is_empty() && found.alarms.is_empty());
    }

    #[test]
    fn leaves_out_what_no_entry_should_allow() {
        for (more, exe, why) in [
            ("", "/tmp/nc", "every user may put a program there"),
            ("", KERNEL, "the kernel holds it"),
            ("", "/srv/*", "cannot be a pattern"),
            (r#","ghostport.executable_deleted":true"#, "/usr/bin/nc", "was deleted"),
            (r#","ghostport.systemd_unit":"session-3.scope""#, "/usr/bin/nc", "by hand"),
        ] {
            let found = proposal(&[line(2948, exe, more)]);
            assert!(found.additions.is_empty(), "{exe}");
            let [left_out] = &found.left_out[..] else { panic!("{found:?}") };
            assert!(left_out.contains(why), "{left_out}");
            assert_eq!(found.alarms.len(), 1, "it would still alarm");
        }
        let expected = proposal(&[line(2948, "/tmp/nc", r#","ghostport.expected":true"#)]);
        assert!(expected.alarms.is_empty());
        let elsewhere = proposal(&[line(80, "/usr/sbin/nginx", "")]);
        assert!(elsewhere.additions.is_empty() && elsewhere.left_out[0].contains("not watched"));
    }

    #[test]
    fn an_instance_stands_for_its_template() {
        assert_eq!(any_instance("ssh@7-10.0.0.1:22.service"), "ssh@*.service");
        assert_eq!(any_instance("kannel.service"), "kannel.service");
    }
}
