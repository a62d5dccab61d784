//! The hooks of socket calls, and the iterator over open files.

use std::time::Instant;

use anyhow::Result;

use super::state::Attacher;
use crate::{
    attach_error,
    candidates::{self, Candidates},
    capture_watch::CaptureWatch,
    holders::OpenSockets,
    hooks::{Hook, HookMechanism, HookStatus},
    link_kind::Link,
    links::LinkName,
    mechanism::BindMechanism,
    pins::Pins,
    programs::{self, ProgramSpec, Target},
    sys,
};

impl Attacher {
    /// Attaches the socket hooks. Returns their statuses.
    pub fn attach_sockets(
        &mut self,
        mechanism: BindMechanism,
        pins: Option<&Pins>,
    ) -> Vec<HookStatus> {
        let attach = |hook| self.attach_socket_hook(hook, mechanism, pins);
        let changes = Hook::OF_SOCKETS.map(attach);
        self.load_holders();
        self.watch_captures();
        self.loader.release();
        self.open_socket_programs();
        changes.into()
    }

    /// Attaches the socket hooks that were lost and are due. Returns their statuses.
    pub fn restore_sockets(
        &mut self,
        mechanism: BindMechanism,
        pins: Option<&Pins>,
    ) -> Vec<HookStatus> {
        let now = Instant::now();
        let lost = self.losses.lost().filter(|(_, ifindex)| *ifindex == 0);
        let due: Vec<Hook> =
            lost.filter(|key| self.losses.may_attach(*key, now)).map(|(hook, _)| hook).collect();
        if due.is_empty() {
            return Vec::new();
        }
        let restore = |hook| self.attach_socket_hook(hook, mechanism, pins);
        let changes = due.into_iter().map(restore).collect();
        self.loader.release();
        self.open_socket_programs();
        changes
    }

    fn attach_socket_hook(
        &mut self,
        hook: Hook,
        mechanism: BindMechanism,
        pins: Option<&Pins>,
    ) -> HookStatus {
        let candidates =
            candidates::of_sockets(hook, mechanism, self.sockets_unsupported.as_deref());
        let status = self
            .adopt_links(hook, None, &candidates, pins)
            .unwrap_or_else(|| self.attach_new_sockets(hook, candidates, pins));
        self.losses.attempted((hook, 0), status.attached.is_some(), Instant::now());
        self.statuses.insert((hook, 0), status.clone());
        status
    }

    fn open_socket_programs(&mut self) {
        let programs = self.links.socket_programs();
        self.socket_programs =
            programs.into_iter().filter_map(|id| sys::open_program(id).ok()).collect();
    }

    fn load_holders(&mut self) {
        if self.holders_unsupported.is_some() {
            return;
        }
        if let Err(error) = self.loader.load_holders() {
            self.holders_unsupported = Some(attach_error::explain_load(error.as_ref()));
        }
    }

    fn watch_captures(&mut self) {
        let binds = self.statuses.get(&(Hook::Bind, 0)).and_then(|status| status.attached);
        let traces_calls = matches!(binds, Some(HookMechanism::Cgroup | HookMechanism::Tracepoint));
        match CaptureWatch::attach(&mut self.loader, traces_calls) {
            Ok(watch) => self.captures = watch,
            Err(error) => {
                self.captures_unsupported = Some(attach_error::explain_load(error.as_ref()));
            }
        }
    }

    /// Why new packet sockets are found by the next scan only, if so; known once the socket hooks are
    /// attached.
    pub fn captures_unsupported(&self) -> Option<&str> {
        self.captures_unsupported.as_deref()
    }

    /// Why [`Self::open_sockets`] is not available, if so; known once the socket hooks are attached.
    pub fn holders_unsupported(&self) -> Option<&str> {
        self.holders_unsupported.as_deref()
    }

    /// Starts a read of the holders of sockets on watched ports.
    pub fn open_sockets(&mut self) -> Result<OpenSockets> {
        OpenSockets::open(self.loader.object())
    }

    /// Socket calls that no program saw: the kernel was interrupted on this CPU in the same program,
    /// which it does not enter twice, or, for kprobes and tracepoints of system calls, in a `bpf(2)`
    /// that changes a map.
    pub fn missed_calls(&self) -> u64 {
        self.socket_programs.iter().filter_map(|program| sys::missed_runs(program).ok()).sum()
    }

    /// Detaches the socket hooks.
    pub fn detach_sockets(&mut self, pins: Option<&Pins>) -> Result<()> {
        self.statuses.retain(|(_, ifindex), _| *ifindex != 0);
        self.socket_programs.clear();
        // Entries before returns: a call must not stay in flight for ever.
        let is_entry = |link: &LinkName| link.ifindex == 0 && programs::is_entry(&link.program);
        self.links.detach(pins, is_entry)?;
        Ok(self.links.detach(pins, |link| link.ifindex == 0)?)
    }

    fn attach_new_sockets(
        &mut self,
        hook: Hook,
        candidates: Candidates,
        pins: Option<&Pins>,
    ) -> HookStatus {
        self.attach_first(hook, None, candidates, |this, mechanism| {
            let attached = this.attach_sockets_by(hook, mechanism, pins);
            if attached.is_err() {
                // Some of several programs may be attached.
                this.links.detach(pins, |l| l.hook == hook && l.mechanism == mechanism)?;
            }
            attached
        })
    }

    fn attach_sockets_by(
        &mut self,
        hook: Hook,
        mechanism: HookMechanism,
        pins: Option<&Pins>,
    ) -> Result<()> {
        let programs = || programs::of(hook, mechanism, self.environment(Link::Other));
        let programs: Vec<&ProgramSpec> = programs().collect();
        // The kernel may refuse these. They go first, because a tracepoint that is detached is not
        // free at once for the next candidate.
        let is_of_cgroup = |program: &&&ProgramSpec| {
            matches!(program.target, Target::CgroupRoot | Target::CgroupAddress)
        };
        for program in programs.iter().filter(is_of_cgroup) {
            self.loader.load(program)?;
        }
        for program in programs {
            let link = self.loader.attach(program)?;
            self.keep(program, hook, mechanism, 0, link, pins)?;
        }
        Ok(())
    }
}
