//! What the pipeline does with evidence: it asks for looks at executables, emits what they find, and judges
//! binds that waited for it.

use std::sync::Arc;

use jiff::Timestamp;
use monitor_common::socket_record::{Call, SocketRecord};

use super::Worker;
use crate::{
    agent::pipeline::{evidence_watch::Awaiting, shared_ledger::lock},
    config::{Expectation, Judgement},
    event::Event,
    process::{Evidence, ExecutableFacts, Identity, Inspected, Inspector, Purpose},
    sockets::Socket,
};

impl Worker {
    /// Whether the configuration expects the caller; `None` if the port is not watched, and of a call
    /// other than a bind whose caller is not known: it may be the owner.
    pub(super) fn judge_caller(
        &self,
        record: &SocketRecord,
        caller: Option<&mut Identity>,
    ) -> Option<Judgement> {
        let expect = &self.ports.get(&record.port)?.expect;
        let Some(caller) = caller else {
            let is_bind = !matches!(record.call, Call::Listen | Call::Close);
            return is_bind.then_some(Judgement::NotExpected);
        };
        if expect.iter().any(Expectation::needs_file) {
            caller.evidence = self.inspector.known_for_certain(caller);
        }
        Some(self.expected_owners.judge_process(caller, expect))
    }

    /// Emits an event about a process, and what is found out about its executable afterwards.
    pub(super) fn emit_of(&mut self, event: Event, process: Option<&Identity>) {
        let Some(process) = process else {
            self.emit(event);
            return;
        };
        if self.emit(event.clone()) {
            self.seek_evidence(process, &event);
        }
    }

    /// Asks for a look at the executable of a process, of which `event` was emitted.
    pub(super) fn seek_evidence(&mut self, process: &Identity, event: &Event) {
        let Some(key) = Inspector::key(process).filter(|_| process.executable.is_some()) else {
            return;
        };
        if !self.evidence.wants_event(key, process) {
            return;
        }
        self.evidence.expect(key, process, event);
        self.inspector.ask(process, Purpose::Event);
        // It was looked at before, or cannot be.
        if let Evidence::Known(facts) = self.inspector.known(process) {
            self.emit_evidence(key, &facts);
        }
    }

    /// Lets a bind wait for a look at the executable of its process.
    pub(super) fn await_evidence(&mut self, process: &Identity, event: &Event) {
        let Some(key) = Inspector::key(process) else { return };
        let is_waiting = self.evidence.await_judgement(key, process, event);
        self.inspector.ask(process, Purpose::Judgement);
        let known = self.inspector.known(process);
        match known {
            Evidence::Known(facts) => self.judge_with(key, &facts),
            Evidence::Pending if is_waiting => {}
            Evidence::Pending => self.emit_misjudged(event, process, "too many others waited"),
        }
    }

    /// Takes what a look found.
    pub(super) fn take_evidence(&mut self, key: Inspected, facts: &Arc<ExecutableFacts>) {
        self.emit_evidence(key, facts);
        self.judge_with(key, facts);
        let of_ports = self.ports.values().flat_map(|port| &port.expect);
        let of_listeners = self.listeners.config.expect.iter().map(|entry| &entry.owner);
        if of_ports.chain(of_listeners).any(Expectation::needs_file) {
            // A scan judges what was found open.
            self.shared.socket_changed.notify_one();
        }
    }

    /// Judges binds for which no look has ended in time.
    pub(super) fn judge_without_evidence(&mut self) {
        let why = "it could not be read in time";
        for Awaiting { process, event, .. } in self.evidence.overdue() {
            self.emit_misjudged(&event, &process, why);
        }
    }

    /// Asks for looks at the processes that hold watched ports, to show what they find.
    pub(super) fn look_at_holders(&self, sockets: &[Socket]) {
        for socket in sockets {
            let expect = self.ports.get(&socket.port).map(|port| &*port.expect);
            for holder in &socket.holders {
                let judgement =
                    expect.map(|expect| self.expected_owners.judge_process(holder, expect));
                let purpose = match judgement {
                    Some(Judgement::Pending) => Purpose::Judgement,
                    _ => Purpose::Display,
                };
                self.inspector.ask(holder, purpose);
            }
        }
    }

    /// The process of an event, if it is still there.
    pub(super) fn process_of(&mut self, event: &Event) -> Option<Identity> {
        let caller = event.caller()?;
        let process = self.enricher.look_up(caller.pid).ok()?;
        (process.creation_time == caller.creation_time).then_some(process)
    }

    fn emit_evidence(&mut self, key: Inspected, facts: &Arc<ExecutableFacts>) {
        let Some(asked) = self.evidence.take(key) else { return };
        self.evidence.reported(key, &asked.process);
        let (facts, time) = (Arc::clone(facts), Timestamp::now());
        let event =
            Event::executable(asked.socket, asked.port, &asked.process, facts, time, &self.context);
        self.emit(event);
    }

    fn judge_with(&mut self, key: Inspected, facts: &Arc<ExecutableFacts>) {
        for Awaiting { process, port, event, .. } in self.evidence.awaiting(key) {
            let process = Identity { evidence: Evidence::Known(Arc::clone(facts)), ..process };
            // The port is no longer watched.
            let Some(expect) = self.ports.get(&port).map(|port| &port.expect) else { continue };
            if self.expected_owners.judge_process(&process, expect) == Judgement::Expected {
                continue;
            }
            let why = why_not(expect, facts);
            self.emit_misjudged(&event, &process, &why);
        }
    }

    /// Emits the event of an unexpected owner, whose bind was taken for an expected one so far.
    fn emit_misjudged(&mut self, bind: &Event, process: &Identity, why: &str) {
        let Some(unexpected) = bind.owner_that_differs(why.to_owned()) else { return };
        let protocol = bind.socket().and_then(|socket| socket.transport);
        if let (Some(port), Some(protocol)) = (bind.port(), protocol) {
            let now = crate::agent::clock::now().boottime_ns;
            self.reported_owners.add(port, protocol, process, now);
            if let Some(key) = Inspector::key(process) {
                self.evidence.misjudged(key, port);
            }
            let binds = bind.stands_for().count;
            lock(&self.ledger).count_misjudged_binds(port, protocol, binds);
        }
        self.has_changes = true;
        self.emit(unexpected);
    }
}

/// What of an executable does not match the entries that are about executables.
fn why_not(expect: &[Expectation], facts: &ExecutableFacts) -> String {
    let file = &facts.file;
    if let Some(why) = file.unread {
        return format!("its executable is not known: {why}");
    }
    if expect.iter().any(|entry| entry.package.is_some()) {
        return match (&file.package, file.is_modified) {
            (None, _) => "no package has its executable".to_owned(),
            (Some(package), Some(true)) => {
                format!("its executable differs from what package {} installed", package.name)
            }
            (Some(package), None) => {
                format!("package {} has no hash of its executable", package.name)
            }
            (Some(package), Some(false)) => format!("its executable is of {}", package.name),
        };
    }
    let sha256 = file.sha256.as_deref().unwrap_or_default();
    format!("the SHA-256 of its executable is {sha256}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{FileFacts, Package};

    #[test]
    fn says_what_does_not_match() {
        let package = || Some(Package { name: "netcat".into(), ..Package::default() });
        let of_package = [Expectation { package: "kannel".parse().ok(), ..Expectation::default() }];
        let of_hash = [Expectation { sha256: "ab".repeat(32).parse().ok(), ..Default::default() }];
        let why = |expect: &[Expectation], file| {
            why_not(expect, &ExecutableFacts { file, ..ExecutableFacts::default() })
        };
        let known = |package, is_modified| FileFacts {
            sha256: Some("12".into()),
            package,
            is_modified,
            ..FileFacts::default()
        };
        assert_eq!(why(&of_hash, known(None, None)), "the SHA-256 of its executable is 12");
        for (file, expected) in [
            (known(None, None), "no package has its executable"),
            (known(package(), Some(false)), "its executable is of netcat"),
            (known(package(), None), "package netcat has no hash of its executable"),
            (
                known(package(), Some(true)),
                "its executable differs from what package netcat installed",
            ),
        ] {
            assert_eq!(why(&of_package, file), expected);
        }
        let unread = FileFacts { unread: Some("evidence.max_size is none"), ..Default::default() };
        assert_eq!(why(&of_hash, unread), "its executable is not known: evidence.max_size is none");
    }
}
