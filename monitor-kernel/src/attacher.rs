//! Attaches each hook by the best mechanism that works, adopts the hooks of an earlier agent, and
//! detaches those that are no longer wanted.

use std::{collections::BTreeMap, os::fd::OwnedFd, path::Path};

use anyhow::Result;
use aya::Ebpf;
use monitor_common::flow::LOOPBACK;

use super::{
    adoption, attach_error,
    btf::KernelTypes,
    candidates::{self, Candidates},
    capture_watch::CaptureWatch,
    clsact::{self, Filter},
    holders::OpenSockets,
    hooks::{Hook, HookMechanism, HookStatus, Rejection},
    host_constraints::HostConstraints,
    interfaces::{Interface, Link},
    links::{LinkName, Links, OwnedLink},
    pins::Pins,
    program_loader::ProgramLoader,
    programs::{self, Environment, ProgramSpec, Target},
    record::{self, Record},
    socket_access::WITHOUT_TYPES,
    sys,
};
use crate::mechanism::{BindMechanism, InterfaceMode};

/// Every driver accepts an XDP program at this MTU, bytes: the packets fit in one buffer.
const ORDINARY_MTU: u32 = 1500;

/// The hooks, and the links and filters that keep them attached.
#[derive(Debug)]
pub struct Attacher {
    loader: ProgramLoader,
    links: Links,
    filters: Vec<Filter>,
    statuses: BTreeMap<(Hook, u32), HookStatus>,
    /// The record of the agent that left its hooks.
    left: Option<Record>,
    /// Why programs cannot read sockets, if they cannot.
    sockets_unsupported: Option<String>,
    /// Why the iterator over open files cannot run, if it cannot.
    holders_unsupported: Option<String>,
    constraints: HostConstraints,
    captures: CaptureWatch,
    /// Why new packet sockets are not noticed at once, if so.
    captures_unsupported: Option<String>,
    /// Programs of the socket hooks, open for their statistics.
    socket_programs: Vec<OwnedFd>,
}

impl Attacher {
    /// Takes a loaded object and the hooks that an earlier agent left.
    pub fn new(
        object: Ebpf,
        sockets_unsupported: Option<String>,
        types: KernelTypes,
        pins: Option<&Pins>,
    ) -> Self {
        let lacks_offsets = || (!types.find_holders()).then(|| WITHOUT_TYPES.to_owned());
        Self {
            links: pins.map(Links::adopt).unwrap_or_default(),
            filters: pins.map(clsact::filters).unwrap_or_default(),
            statuses: BTreeMap::new(),
            left: pins.and_then(|_| Record::read(Path::new(record::FOLDER))),
            holders_unsupported: sockets_unsupported.clone().or_else(lacks_offsets),
            sockets_unsupported,
            constraints: HostConstraints::detect(),
            captures: CaptureWatch::default(),
            captures_unsupported: None,
            socket_programs: Vec::new(),
            loader: ProgramLoader::new(object, types),
        }
    }

    /// The hooks as they are, for the record file.
    pub fn record(&self) -> Record {
        let hooks = self.statuses.iter().map(|((_, ifindex), status)| (*ifindex, status));
        Record::new(hooks, self.holders_unsupported())
    }

    /// Offsets in kernel structs that the kernel's BTF lacks, as `struct.member`.
    pub fn missing_offsets(&self) -> &[String] {
        &self.loader.types().missing
    }

    /// Every hook with its status.
    pub fn statuses(&self) -> Vec<HookStatus> {
        self.statuses.values().cloned().collect()
    }

    /// Interfaces that have a hook.
    pub fn interfaces(&self) -> Vec<u32> {
        let mut indices = self.links.interfaces();
        indices.extend(self.filters.iter().map(|filter| filter.ifindex));
        indices.extend(self.statuses.keys().map(|(_, ifindex)| *ifindex).filter(|i| *i != 0));
        indices.sort_unstable();
        indices.dedup();
        indices
    }

    /// Attaches the traffic hooks of an interface that are not attached. Returns what changed.
    pub fn attach_traffic(
        &mut self,
        interface: &Interface,
        mode: InterfaceMode,
        pins: Option<&Pins>,
    ) -> Vec<HookStatus> {
        let mut changes = Vec::new();
        for hook in [Hook::Ingress, Hook::Egress] {
            let key = (hook, interface.index);
            if let Some(status) = self.statuses.get_mut(&key)
                && status.attached.is_some()
            {
                status.interface = Some(interface.name.clone());
                continue;
            }
            let candidates = candidates::of_traffic(hook, mode, interface.link);
            let status = self
                .adopt_links(hook, Some(interface), &candidates, pins)
                .or_else(|| self.adopt_filter(hook, interface, &candidates, pins))
                .unwrap_or_else(|| self.attach_new_traffic(hook, interface, candidates, pins));
            if self.statuses.get(&key) != Some(&status) {
                changes.push(status.clone());
            }
            self.statuses.insert(key, status);
        }
        changes
    }

    /// Attaches the socket hooks. Returns their statuses.
    pub fn attach_sockets(
        &mut self,
        mechanism: BindMechanism,
        pins: Option<&Pins>,
    ) -> Vec<HookStatus> {
        let mut changes = Vec::new();
        for hook in [Hook::Bind, Hook::Listen, Hook::Close] {
            let candidates =
                candidates::of_sockets(hook, mechanism, self.sockets_unsupported.as_deref());
            let status = self
                .adopt_links(hook, None, &candidates, pins)
                .unwrap_or_else(|| self.attach_new_sockets(hook, candidates, pins));
            changes.push(status.clone());
            self.statuses.insert((hook, 0), status);
        }
        self.load_holders();
        self.watch_captures();
        self.loader.release();
        let programs = self.links.socket_programs(pins);
        self.socket_programs =
            programs.into_iter().filter_map(|id| sys::open_program(id).ok()).collect();
        changes
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
        match CaptureWatch::attach(&mut self.loader) {
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

    /// Socket calls that no program saw, because the kernel was interrupted in the same program on
    /// the same CPU, and does not enter a program twice.
    pub fn missed_calls(&self) -> u64 {
        self.socket_programs.iter().filter_map(|program| sys::missed_runs(program).ok()).sum()
    }

    /// Detaches the hooks of an interface. A filter is removed by the interface's name, which is
    /// `None` for an interface that is gone.
    pub fn detach_interface(
        &mut self,
        ifindex: u32,
        name: Option<&str>,
        pins: Option<&Pins>,
    ) -> Result<Vec<HookStatus>> {
        self.links.detach(pins, |link| link.ifindex == ifindex)?;
        let (ours, others): (Vec<Filter>, _) =
            std::mem::take(&mut self.filters).into_iter().partition(|f| f.ifindex == ifindex);
        self.filters = others;
        for filter in &ours {
            clsact::detach(filter, name, pins)?;
        }
        let mut changes = Vec::new();
        for hook in [Hook::Ingress, Hook::Egress] {
            if let Some(status) = self.statuses.remove(&(hook, ifindex)) {
                changes.push(HookStatus { attached: None, rejected: Vec::new(), ..status });
            }
        }
        Ok(changes)
    }

    /// Detaches the socket hooks.
    pub fn detach_sockets(&mut self, pins: Option<&Pins>) -> Result<()> {
        self.statuses.retain(|(_, ifindex), _| *ifindex != 0);
        self.socket_programs.clear();
        // Entries before returns: a call must not stay in flight for ever.
        let is_entry =
            |link: &LinkName| link.ifindex == 0 && programs::is_bind_entry(&link.program);
        self.links.detach(pins, is_entry)?;
        Ok(self.links.detach(pins, |link| link.ifindex == 0)?)
    }

    fn adopt_links(
        &mut self,
        hook: Hook,
        interface: Option<&Interface>,
        candidates: &Candidates,
        pins: Option<&Pins>,
    ) -> Option<HookStatus> {
        let environment = self.environment(interface.map_or(Link::Other, |each| each.link));
        let left = self.left.as_ref();
        adoption::adopt(&mut self.links, left, hook, interface, environment, candidates, pins?)
    }

    /// Adopts the filter of an earlier agent, and replaces its program by this agent's. A filter that
    /// cannot be adopted is removed: two mechanisms at once would count twice.
    fn adopt_filter(
        &mut self,
        hook: Hook,
        interface: &Interface,
        candidates: &Candidates,
        pins: Option<&Pins>,
    ) -> Option<HookStatus> {
        let ours = |filter: &Filter| filter.hook == hook && filter.ifindex == interface.index;
        let filter = self.filters.iter().find(|filter| ours(filter)).cloned()?;
        let mechanism = HookMechanism::Clsact;
        if candidates.mechanisms.contains(&mechanism)
            && self.attach_traffic_by(hook, mechanism, interface, pins).is_ok()
        {
            return Some(HookStatus {
                hook,
                interface: Some(interface.name.clone()),
                attached: Some(mechanism),
                adopted: true,
                rejected: adoption::rejected_before(
                    self.left.as_ref(),
                    hook,
                    interface.index,
                    mechanism,
                    candidates,
                ),
            });
        }
        if let Err(error) = clsact::detach(&filter, Some(&interface.name), pins) {
            tracing::warn!(%error, %hook, "a stale filter cannot be removed");
        }
        self.filters.retain(|filter| !ours(filter));
        None
    }

    fn attach_new_traffic(
        &mut self,
        hook: Hook,
        interface: &Interface,
        candidates: Candidates,
        pins: Option<&Pins>,
    ) -> HookStatus {
        self.attach_first(hook, Some(interface), candidates, |this, mechanism| {
            this.attach_traffic_by(hook, mechanism, interface, pins)
        })
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

    /// Attempts one candidate after the other until one succeeds.
    fn attach_first(
        &mut self,
        hook: Hook,
        interface: Option<&Interface>,
        candidates: Candidates,
        attempt: impl Fn(&mut Self, HookMechanism) -> Result<()>,
    ) -> HookStatus {
        let name = interface.map(|interface| interface.name.as_str());
        let mtu = interface.map(|interface| interface.mtu);
        let mut rejected = candidates.rejected;
        let mut attached = None;
        for mechanism in candidates.mechanisms {
            match attempt(self, mechanism) {
                Ok(()) => {
                    attached = Some(mechanism);
                    break;
                }
                Err(error) => {
                    let constraints = &self.constraints;
                    let why = attach_error::explain(mechanism, error.as_ref(), constraints, mtu);
                    tracing::debug!(%hook, interface = name, %mechanism, why, ?error, "rejected");
                    rejected.push(Rejection { mechanism, why });
                }
            }
        }
        let interface = name.map(str::to_owned);
        HookStatus { hook, interface, attached, adopted: false, rejected }
    }

    /// Attaches a traffic hook by one mechanism and no other.
    pub fn attach_traffic_by(
        &mut self,
        hook: Hook,
        mechanism: HookMechanism,
        interface: &Interface,
        pins: Option<&Pins>,
    ) -> Result<()> {
        let program = self.program(hook, mechanism, interface.link)?;
        if mechanism == HookMechanism::Clsact {
            return self.attach_filter(program, hook, interface, pins);
        }
        let (program, link) = match self.loader.attach_to_interface(program, hook, interface) {
            Ok(link) => (program, link),
            Err(error) => {
                let several = programs::for_several_buffers(hook, mechanism)
                    .filter(|_| may_need_several_buffers(interface));
                let attach = |program| {
                    let link = self.loader.attach_to_interface(program, hook, interface);
                    Some((program, link.ok()?))
                };
                several.and_then(attach).ok_or(error)?
            }
        };
        self.keep(program, hook, mechanism, interface.index, link, pins)
    }

    /// Loads the traffic programs of an Ethernet device: those of the first candidate that loads.
    pub fn load_traffic(&mut self, mode: InterfaceMode) -> Vec<HookStatus> {
        let load = |hook| {
            let candidates = candidates::of_traffic(hook, mode, Link::Ethernet);
            self.attach_first(hook, None, candidates, |this, mechanism| {
                let program = this.program(hook, mechanism, Link::Ethernet)?;
                this.loader.load(program)
            })
        };
        [Hook::Ingress, Hook::Egress].map(load).into()
    }

    fn attach_filter(
        &mut self,
        program: &ProgramSpec,
        hook: Hook,
        interface: &Interface,
        pins: Option<&Pins>,
    ) -> Result<()> {
        let ours = |filter: &&Filter| filter.hook == hook && filter.ifindex == interface.index;
        let left = self.filters.iter().find(ours).cloned();
        let program = self.loader.load_tc(program)?;
        let filter = clsact::attach(program, hook, interface, left.as_ref(), pins)?;
        self.filters.retain(|other| Some(other) != left.as_ref());
        self.filters.push(filter);
        Ok(())
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
        for program in programs.iter().filter(|program| program.target == Target::CgroupRoot) {
            self.loader.load(program)?;
        }
        for program in programs {
            let link = self.loader.attach(program)?;
            self.keep(program, hook, mechanism, 0, link, pins)?;
        }
        Ok(())
    }

    fn keep(
        &mut self,
        program: &ProgramSpec,
        hook: Hook,
        mechanism: HookMechanism,
        ifindex: u32,
        link: OwnedLink,
        pins: Option<&Pins>,
    ) -> Result<()> {
        let name = LinkName { hook, mechanism, ifindex, program: program.pin.to_owned() };
        Ok(self.links.keep(name, link, pins)?)
    }

    /// The one program of a traffic hook.
    fn program(
        &self,
        hook: Hook,
        mechanism: HookMechanism,
        link: Link,
    ) -> Result<&'static ProgramSpec> {
        let mut programs = programs::of(hook, mechanism, self.environment(link));
        programs.next().ok_or_else(|| anyhow::anyhow!("no program serves {hook} by {mechanism}"))
    }

    fn environment(&self, link: Link) -> Environment {
        Environment {
            has_bind_sk: programs::has_bind_sk(|name| self.loader.types().have_function(name)),
            sockets_are_readable: self.sockets_unsupported.is_none(),
            link,
        }
    }
}

/// Whether the interface may have refused the plain program for the size of its packets. Loading
/// another program takes time, and the loopback device refuses all of them.
const fn may_need_several_buffers(interface: &Interface) -> bool {
    interface.mtu > ORDINARY_MTU
        && interface.index != LOOPBACK
        && !matches!(interface.link, Link::Veth)
}
