//! Walks the ladders: attaches each hook by the best mechanism that will have it, adopts what an
//! earlier agent left, and takes down what is no longer wanted.

use std::{
    collections::BTreeMap,
    fs::File,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use aya::{
    Btf, Ebpf, Endianness,
    programs::{
        CgroupAttachMode, CgroupSock, FEntry, FExit, KProbe, LinkOrder, Program, ProgramError,
        RawTracePoint, SchedClassifier, TcAttachType, TracePoint, Xdp, XdpMode, links::FdLink,
        tc::TcAttachOptions,
    },
};
use monitor_common::flow::LOOPBACK;

use super::{
    btf::KernelTypes,
    capabilities,
    clsact::{self, Filter},
    holders::{self, OpenSockets},
    hooks::{Hook, HookMechanism, HookStatus, PassedOver},
    interfaces::{Interface, Link},
    ladder::{self, Ladder},
    links::{LinkName, Links, OwnedLink},
    lockdown::Lockdown,
    pins::{Pins, Room},
    record::{self, Record},
    sys, tracefs,
    verdict::{self, Circumstances},
};
use crate::mechanism::{BindMechanism, InterfaceMode};

/// The functions behind `bind(2)`, one for each address family.
const BIND_FUNCTIONS: [&str; 2] = ["inet_bind", "inet6_bind"];

/// What these call since Linux 6.6, and MPTCP as well.
const BIND_SK_FUNCTIONS: [&str; 2] = ["inet_bind_sk", "inet6_bind_sk"];

/// The function behind the last `close(2)` of an internet socket.
const RELEASE_FUNCTION: &str = "inet_release";

/// All functions that a program of ours is attached to by the kernel's types.
pub const TRACED_FUNCTIONS: [&str; 6] = {
    let [inet, inet6] = BIND_FUNCTIONS;
    let [inet_sk, inet6_sk] = BIND_SK_FUNCTIONS;
    [inet, inet6, inet_sk, inet6_sk, RELEASE_FUNCTION, holders::FUNCTION]
};

const WITHOUT_TYPES: &str = "the kernel's type information does not say what a socket is";

/// No driver refuses an XDP program for packets of this size, bytes: they fit the buffers of all.
const ORDINARY_MTU: u32 = 1500;

/// The tracepoint of every state change of a TCP socket.
const STATE_CHANGE: &str = "inet_sock_set_state";

/// The hooks and everything that keeps them attached.
#[derive(Debug)]
pub struct Attacher {
    object: Ebpf,
    links: Links,
    filters: Vec<Filter>,
    statuses: BTreeMap<(Hook, u32), HookStatus>,
    /// What the agent that left them knew of its hooks.
    left: Option<Record>,
    /// Why no program can read a socket, if none can.
    obstacle: Option<String>,
    /// Why the kernel side cannot tell who holds a socket, if it cannot.
    holders_obstacle: Option<String>,
    circumstances: Circumstances,
    /// The programs of the socket hooks, opened to be asked how they fare.
    socket_programs: Vec<OwnedFd>,
    types: KernelTypes,
    /// Where the [`TRACED_FUNCTIONS`] stand, in the form in which aya takes it; made when the first
    /// one is tried.
    function_types: Option<Btf>,
}

impl Attacher {
    /// Takes a loaded object and what an earlier agent left attached.
    pub fn new(
        object: Ebpf,
        obstacle: Option<String>,
        types: KernelTypes,
        pins: Option<&Pins>,
    ) -> Self {
        let lacks_offsets = || (!types.find_holders()).then(|| WITHOUT_TYPES.to_owned());
        Self {
            object,
            links: pins.map(Links::adopt).unwrap_or_default(),
            filters: pins.map(clsact::filters).unwrap_or_default(),
            statuses: BTreeMap::new(),
            left: pins.and_then(|_| Record::read(Path::new(record::FOLDER))),
            holders_obstacle: obstacle.clone().or_else(lacks_offsets),
            obstacle,
            circumstances: circumstances(),
            socket_programs: Vec::new(),
            types,
            function_types: None,
        }
    }

    /// The hooks as they are, to be written down.
    pub fn record(&self) -> Record {
        let hooks = self.statuses.iter().map(|((_, ifindex), status)| (*ifindex, status));
        Record::new(hooks, self.holders_obstacle())
    }

    /// Offsets in kernel structs that could not be had, as `struct.member`.
    pub fn missing_offsets(&self) -> &[String] {
        &self.types.missing
    }

    /// Every hook and what became of it.
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

    /// Attaches both traffic hooks of an interface, unless they are. Returns what changed.
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
            let ladder = ladder::of_traffic(hook, mode, interface.link);
            let status = self
                .adopt(hook, Some(interface), &ladder, pins)
                .or_else(|| self.adopt_filter(hook, interface, &ladder, pins))
                .unwrap_or_else(|| self.climb_traffic(hook, interface, ladder, pins));
            if self.statuses.get(&key) != Some(&status) {
                changes.push(status.clone());
            }
            self.statuses.insert(key, status);
        }
        changes
    }

    /// Attaches the socket hooks. Returns what became of them.
    pub fn attach_sockets(
        &mut self,
        mechanism: BindMechanism,
        pins: Option<&Pins>,
    ) -> Vec<HookStatus> {
        let mut changes = Vec::new();
        for hook in [Hook::Bind, Hook::Listen, Hook::Close] {
            let ladder = ladder::of_sockets(hook, mechanism, self.obstacle.as_deref());
            let status = self
                .adopt(hook, None, &ladder, pins)
                .unwrap_or_else(|| self.climb_sockets(hook, ladder, pins));
            changes.push(status.clone());
            self.statuses.insert((hook, 0), status);
        }
        self.load_holders();
        self.function_types = None;
        let programs = self.links.socket_programs(pins);
        self.socket_programs =
            programs.into_iter().filter_map(|id| sys::open_program(id).ok()).collect();
        changes
    }

    /// The iterator over open files is loaded with the socket hooks, and attached at each look.
    fn load_holders(&mut self) {
        if self.holders_obstacle.is_some() {
            return;
        }
        let types = function_types(&self.types, &mut self.function_types);
        if let Err(error) = types.and_then(|types| holders::load(&mut self.object, types)) {
            self.holders_obstacle = Some(verdict::explain_load(error.as_ref()));
        }
    }

    /// Why [`Self::open_sockets`] serves nobody, if so; known once the socket hooks are attached.
    pub fn holders_obstacle(&self) -> Option<&str> {
        self.holders_obstacle.as_deref()
    }

    /// Begins a look at who holds sockets on watched ports.
    pub fn open_sockets(&mut self) -> Result<OpenSockets> {
        OpenSockets::open(&mut self.object)
    }

    /// Socket calls that no program of ours has looked at, because the kernel was interrupted in
    /// the same program on the same CPU, and does not enter one twice.
    pub fn missed_calls(&self) -> u64 {
        self.socket_programs.iter().filter_map(|program| sys::missed_runs(program).ok()).sum()
    }

    /// Takes down the hooks of an interface; its name is needed while it still exists.
    pub fn detach_interface(
        &mut self,
        ifindex: u32,
        name: Option<&str>,
        pins: Option<&Pins>,
    ) -> Result<Vec<HookStatus>> {
        self.links.detach(pins, |link| link.ifindex == ifindex)?;
        let (ours, others) =
            std::mem::take(&mut self.filters).into_iter().partition(|f| f.ifindex == ifindex);
        self.filters = others;
        let ours: Vec<Filter> = ours;
        for filter in &ours {
            clsact::detach(filter, name, pins)?;
        }
        let mut changes = Vec::new();
        for hook in [Hook::Ingress, Hook::Egress] {
            if let Some(status) = self.statuses.remove(&(hook, ifindex)) {
                changes.push(HookStatus { attached: None, passed_over: Vec::new(), ..status });
            }
        }
        Ok(changes)
    }

    /// Takes down the socket hooks.
    pub fn detach_sockets(&mut self, pins: Option<&Pins>) -> Result<()> {
        self.statuses.retain(|(_, ifindex), _| *ifindex != 0);
        self.socket_programs.clear();
        // Entries before returns: a call must not be kept in flight for ever.
        self.links.detach(pins, |link| link.ifindex == 0 && link.program.ends_with("enter"))?;
        Ok(self.links.detach(pins, |link| link.ifindex == 0)?)
    }

    /// What an earlier agent left of a hook, if it is whole, alive, and a rung of today's ladder.
    fn adopt(
        &mut self,
        hook: Hook,
        interface: Option<&Interface>,
        ladder: &Ladder,
        pins: Option<&Pins>,
    ) -> Option<HookStatus> {
        let pins = pins?;
        let ifindex = interface.map_or(0, |interface| interface.index);
        let found: Vec<LinkName> = self.links.of(hook, ifindex).into_iter().cloned().collect();
        let mechanism = found.first()?.mechanism;
        let whole = found.len() == self.link_count(hook, mechanism)
            && found.iter().all(|link| is_alive(pins, link))
            && ladder.rungs.contains(&mechanism);
        if !whole {
            let detached =
                self.links.detach(Some(pins), |link| link.hook == hook && link.ifindex == ifindex);
            if let Err(error) = detached {
                tracing::warn!(%error, %hook, "a stale link cannot be removed");
            }
            return None;
        }
        Some(HookStatus {
            hook,
            interface: interface.map(|interface| interface.name.clone()),
            attached: Some(mechanism),
            adopted: true,
            passed_over: self.passed_over_before(hook, ifindex, mechanism, ladder),
        })
    }

    /// Why better mechanisms than that of an adopted hook were passed over when it was attached.
    /// They are not tried again: that could disturb an interface that counts well.
    fn passed_over_before(
        &self,
        hook: Hook,
        ifindex: u32,
        mechanism: HookMechanism,
        ladder: &Ladder,
    ) -> Vec<PassedOver> {
        let known = self.left.as_ref().and_then(|left| left.passed_over(hook, ifindex, mechanism));
        if let Some(known) = known {
            return known.to_vec();
        }
        let better = ladder.rungs.iter().take_while(|rung| **rung != mechanism);
        let why = "an earlier agent attached the hook, and its reasons are lost".to_owned();
        let lost = better.map(|rung| PassedOver { mechanism: *rung, why: why.clone() });
        ladder.unfit.iter().cloned().chain(lost).collect()
    }

    /// The filter that an earlier agent left, with this agent's program in it; or none, and then
    /// none is left, because two mechanisms at once would count twice.
    fn adopt_filter(
        &mut self,
        hook: Hook,
        interface: &Interface,
        ladder: &Ladder,
        pins: Option<&Pins>,
    ) -> Option<HookStatus> {
        let ours = |filter: &Filter| filter.hook == hook && filter.ifindex == interface.index;
        let filter = self.filters.iter().find(|filter| ours(filter)).cloned()?;
        if ladder.rungs.contains(&HookMechanism::Clsact)
            && self.attach_clsact(hook, interface, pins).is_ok()
        {
            return Some(HookStatus {
                hook,
                interface: Some(interface.name.clone()),
                attached: Some(HookMechanism::Clsact),
                adopted: true,
                passed_over: self.passed_over_before(
                    hook,
                    interface.index,
                    HookMechanism::Clsact,
                    ladder,
                ),
            });
        }
        if let Err(error) = clsact::detach(&filter, Some(&interface.name), pins) {
            tracing::warn!(%error, %hook, "a stale filter cannot be removed");
        }
        self.filters.retain(|filter| !ours(filter));
        None
    }

    fn climb_traffic(
        &mut self,
        hook: Hook,
        interface: &Interface,
        ladder: Ladder,
        pins: Option<&Pins>,
    ) -> HookStatus {
        let circumstances = Circumstances { mtu: Some(interface.mtu), ..self.circumstances };
        self.climb(hook, Some(&interface.name), ladder, circumstances, |this, mechanism| {
            this.attach_traffic_by(hook, mechanism, interface, pins)
        })
    }

    fn climb_sockets(&mut self, hook: Hook, ladder: Ladder, pins: Option<&Pins>) -> HookStatus {
        let circumstances = self.circumstances;
        self.climb(hook, None, ladder, circumstances, |this, mechanism| {
            let attached = this.attach_sockets_by(hook, mechanism, pins);
            if attached.is_err() {
                // Of several programs some may be attached already.
                this.links.detach(pins, |l| l.hook == hook && l.mechanism == mechanism)?;
            }
            attached
        })
    }

    /// Tries one rung after the other.
    fn climb(
        &mut self,
        hook: Hook,
        interface: Option<&str>,
        ladder: Ladder,
        circumstances: Circumstances,
        attempt: impl Fn(&mut Self, HookMechanism) -> Result<()>,
    ) -> HookStatus {
        let mut passed_over = ladder.unfit;
        let mut attached = None;
        for mechanism in ladder.rungs {
            match attempt(self, mechanism) {
                Ok(()) => {
                    attached = Some(mechanism);
                    break;
                }
                Err(error) => {
                    let why = verdict::explain(mechanism, error.as_ref(), circumstances);
                    tracing::debug!(%hook, interface, %mechanism, why, ?error, "passed over");
                    passed_over.push(PassedOver { mechanism, why });
                }
            }
        }
        let interface = interface.map(str::to_owned);
        HookStatus { hook, interface, attached, adopted: false, passed_over }
    }

    /// Attaches a traffic hook by one mechanism and no other.
    pub fn attach_traffic_by(
        &mut self,
        hook: Hook,
        mechanism: HookMechanism,
        interface: &Interface,
        pins: Option<&Pins>,
    ) -> Result<()> {
        let (program, link) = match mechanism {
            HookMechanism::XdpNative => self.attach_xdp_native(interface)?,
            HookMechanism::XdpGeneric => {
                ("xdp_ingress", self.attach_xdp("xdp_ingress", interface, XdpMode::Skb)?)
            }
            HookMechanism::Tcx => self.attach_tcx(hook, interface)?,
            _ => return self.attach_clsact(hook, interface, pins),
        };
        let name =
            LinkName { hook, mechanism, ifindex: interface.index, program: program.to_owned() };
        Ok(self.links.keep(name, link.into(), pins)?)
    }

    /// Loads the programs of an Ethernet device: the first of each ladder that loads.
    pub fn load_traffic(&mut self, mode: InterfaceMode) -> Vec<HookStatus> {
        let load = |hook| {
            let ladder = ladder::of_traffic(hook, mode, Link::Ethernet);
            let circumstances = self.circumstances;
            self.climb(hook, None, ladder, circumstances, |this, mechanism| match mechanism {
                HookMechanism::XdpNative | HookMechanism::XdpGeneric => {
                    load_xdp(&mut this.object, "xdp_ingress").map(drop)
                }
                _ => load_tc(&mut this.object, tc_program(hook, Link::Ethernet)).map(drop),
            })
        };
        [Hook::Ingress, Hook::Egress].map(load).into()
    }

    /// The plain program first: it makes a veth pair send single packets, which can be counted. The
    /// one for multi-buffer packets is for an MTU that exceeds a page.
    fn attach_xdp_native(&mut self, interface: &Interface) -> Result<(&'static str, FdLink)> {
        const PLAIN: &str = "xdp_ingress";
        const FRAGMENTS: &str = "xdp_ingress_frags";
        match self.attach_xdp(PLAIN, interface, XdpMode::Driver) {
            Ok(link) => Ok((PLAIN, link)),
            Err(error) if !may_need_fragments(interface) => Err(error),
            Err(error) => match self.attach_xdp(FRAGMENTS, interface, XdpMode::Driver) {
                Ok(link) => Ok((FRAGMENTS, link)),
                Err(_) => Err(error),
            },
        }
    }

    fn attach_xdp(&mut self, name: &str, interface: &Interface, mode: XdpMode) -> Result<FdLink> {
        let program = load_xdp(&mut self.object, name)?;
        let id = program.attach_to_if_index(interface.index, mode)?;
        // Anything but a link would vanish with this process and could not be pinned.
        Ok(program.take_link(id)?.try_into()?)
    }

    fn attach_tcx(&mut self, hook: Hook, interface: &Interface) -> Result<(&'static str, FdLink)> {
        let name = tc_program(hook, interface.link);
        let program = load_tc(&mut self.object, name)?;
        let attach_type = match hook {
            Hook::Egress => TcAttachType::Egress,
            _ => TcAttachType::Ingress,
        };
        // First in line: a program before us could end the walk, and we see nothing.
        let order = TcAttachOptions::TcxOrder(LinkOrder::first());
        let id = program.attach_with_options(&interface.name, attach_type, order)?;
        Ok((name, program.take_link(id)?.try_into()?))
    }

    fn attach_clsact(
        &mut self,
        hook: Hook,
        interface: &Interface,
        pins: Option<&Pins>,
    ) -> Result<()> {
        let ours = |filter: &&Filter| filter.hook == hook && filter.ifindex == interface.index;
        let left = self.filters.iter().find(ours).cloned();
        let program = load_tc(&mut self.object, tc_program(hook, interface.link))?;
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
        use HookMechanism::{Cgroup, CgroupSuccess, Fexit, Kprobe};
        match (hook, mechanism) {
            (Hook::Bind, Fexit) => self.attach_bind_fexits(pins)?,
            (Hook::Bind, Kprobe) => self.attach_bind_kprobes(pins)?,
            (Hook::Bind, Cgroup | CgroupSuccess) => {
                // First what may be refused: a tracepoint that is left is not free at once for the
                // rung below.
                open_cgroup_root()?;
                for name in ["bind_cgroup_post4", "bind_cgroup_post6"] {
                    load_cgroup(&mut self.object, name)?;
                }
                if mechanism == Cgroup {
                    self.attach_bind_tracepoints(mechanism, pins)?;
                }
                for name in ["bind_cgroup_post4", "bind_cgroup_post6"] {
                    let link = self.attach_cgroup(name)?;
                    self.keep(hook, mechanism, name, link, pins)?;
                }
            }
            (Hook::Bind, _) => self.attach_bind_tracepoints(mechanism, pins)?,
            (Hook::Close, Fexit) => {
                let link = self.attach_fentry("close_fentry", RELEASE_FUNCTION)?;
                self.keep(hook, mechanism, "close_fentry", link, pins)?;
            }
            (Hook::Close, Kprobe) => {
                let link = self.attach_kprobe("close_kprobe", RELEASE_FUNCTION)?;
                self.keep(hook, mechanism, "close_kprobe", link, pins)?;
            }
            (Hook::Close, Cgroup) => {
                let link = self.attach_cgroup("close_cgroup")?;
                self.keep(hook, mechanism, "close_cgroup", link, pins)?;
            }
            (Hook::Close, _) => {
                self.attach_state_changes(
                    hook,
                    "close_tracepoint",
                    "close_tracepoint_fields",
                    pins,
                )?;
            }
            _ => {
                self.attach_state_changes(
                    hook,
                    "listen_tracepoint",
                    "listen_tracepoint_fields",
                    pins,
                )?;
            }
        }
        Ok(())
    }

    /// The program that reads sockets, or the one that need not.
    fn attach_state_changes(
        &mut self,
        hook: Hook,
        name: &str,
        name_of_fields: &str,
        pins: Option<&Pins>,
    ) -> Result<()> {
        let (name, link) = if self.obstacle.is_none() {
            (name, OwnedLink::from(self.attach_raw_tracepoint(name)?))
        } else {
            (name_of_fields, self.attach_tracepoint(name_of_fields, "sock", STATE_CHANGE)?)
        };
        self.keep(hook, HookMechanism::Tracepoint, name, link, pins)
    }

    fn keep(
        &mut self,
        hook: Hook,
        mechanism: HookMechanism,
        program: &str,
        link: impl Into<OwnedLink>,
        pins: Option<&Pins>,
    ) -> Result<()> {
        let name = LinkName { hook, mechanism, ifindex: 0, program: program.to_owned() };
        Ok(self.links.keep(name, link.into(), pins)?)
    }

    fn attach_bind_fexits(&mut self, pins: Option<&Pins>) -> Result<()> {
        let programs = ["bind_fexit_inet", "bind_fexit_inet6"].iter().zip(&BIND_FUNCTIONS);
        let with_sk = ["bind_fexit_inet_sk", "bind_fexit_inet6_sk"].iter();
        for (name, function) in programs.chain(with_sk.zip(self.bind_sk_functions())) {
            let link = self.attach_fexit(name, function)?;
            self.keep(Hook::Bind, HookMechanism::Fexit, name, link, pins)?;
        }
        Ok(())
    }

    /// Returns first: an entry without one would be kept for ever.
    fn attach_bind_kprobes(&mut self, pins: Option<&Pins>) -> Result<()> {
        let with_sk = self.bind_sk_functions();
        let returns = BIND_FUNCTIONS.iter().chain(with_sk).map(|f| ("bind_kprobe_return", *f));
        let entries = BIND_FUNCTIONS.iter().map(|function| ("bind_kprobe_entry", *function));
        let entries_with_sk = with_sk.iter().map(|function| ("bind_kprobe_entry_sk", *function));
        for (name, function) in returns.chain(entries).chain(entries_with_sk) {
            let link = self.attach_kprobe(name, function)?;
            let name = format!("{name}-{function}");
            self.keep(Hook::Bind, HookMechanism::Kprobe, &name, link, pins)?;
        }
        Ok(())
    }

    /// [`BIND_SK_FUNCTIONS`] where this kernel has them.
    fn bind_sk_functions(&self) -> &'static [&'static str] {
        let are_there = BIND_SK_FUNCTIONS.iter().all(|f| self.types.have_function(f));
        if are_there { &BIND_SK_FUNCTIONS } else { &[] }
    }

    /// Links that serve a hook together.
    fn link_count(&self, hook: Hook, mechanism: HookMechanism) -> usize {
        match (hook, mechanism) {
            (Hook::Bind, HookMechanism::Fexit) => 2 + self.bind_sk_functions().len(),
            (Hook::Bind, HookMechanism::Kprobe) => 4 + 2 * self.bind_sk_functions().len(),
            (Hook::Bind, HookMechanism::Cgroup) => 4,
            (Hook::Bind, _) => 2,
            _ => 1,
        }
    }

    /// The return first: an entry without it would be kept for ever.
    fn attach_bind_tracepoints(
        &mut self,
        mechanism: HookMechanism,
        pins: Option<&Pins>,
    ) -> Result<()> {
        for (name, tracepoint) in
            [("bind_tracepoint_exit", "sys_exit_bind"), ("bind_tracepoint_enter", "sys_enter_bind")]
        {
            let link = self.attach_tracepoint(name, "syscalls", tracepoint)?;
            self.keep(Hook::Bind, mechanism, name, link, pins)?;
        }
        Ok(())
    }

    fn attach_tracepoint(
        &mut self,
        name: &str,
        category: &str,
        tracepoint: &str,
    ) -> Result<OwnedLink> {
        let program: &mut TracePoint = program(&mut self.object, name)?;
        if program.fd().is_err() {
            program.load()?;
        }
        let id = tracefs::with(|| program.attach(category, tracepoint))??;
        Ok(program.take_link(id)?.try_into()?)
    }

    fn attach_fexit(&mut self, name: &str, function: &str) -> Result<FdLink> {
        let types = function_types(&self.types, &mut self.function_types)?;
        let program: &mut FExit = program(&mut self.object, name)?;
        if program.fd().is_err() {
            program.load(function, types)?;
        }
        let id = program.attach()?;
        Ok(program.take_link(id)?.into())
    }

    fn attach_fentry(&mut self, name: &str, function: &str) -> Result<FdLink> {
        let types = function_types(&self.types, &mut self.function_types)?;
        let program: &mut FEntry = program(&mut self.object, name)?;
        if program.fd().is_err() {
            program.load(function, types)?;
        }
        let id = program.attach()?;
        Ok(program.take_link(id)?.into())
    }

    fn attach_kprobe(&mut self, name: &str, function: &str) -> Result<OwnedLink> {
        let program: &mut KProbe = program(&mut self.object, name)?;
        if program.fd().is_err() {
            program.load()?;
        }
        let id = program.attach(function, 0)?;
        Ok(program.take_link(id)?.try_into()?)
    }

    fn attach_cgroup(&mut self, name: &str) -> Result<FdLink> {
        let root = open_cgroup_root()?;
        let program = load_cgroup(&mut self.object, name)?;
        // A link always leaves room for others, whatever the mode says.
        let id = program.attach(root, CgroupAttachMode::Single)?;
        Ok(program.take_link(id)?.try_into()?)
    }

    fn attach_raw_tracepoint(&mut self, name: &str) -> Result<FdLink> {
        let program: &mut RawTracePoint = program(&mut self.object, name)?;
        if program.fd().is_err() {
            program.load()?;
        }
        let id = program.attach(STATE_CHANGE)?;
        Ok(program.take_link(id)?.into())
    }
}

/// Why no program can read a socket, if none can. The program of the listens reads kernel memory and
/// asks for nothing else: what keeps it from loading keeps all others from it.
pub fn obstacle_to_reading(object: &mut Ebpf, types: &KernelTypes) -> Option<String> {
    if !types.find_sockets() {
        return Some(WITHOUT_TYPES.to_owned());
    }
    let error = try_kernel_read(object).err()?;
    Some(verdict::explain(HookMechanism::Tracepoint, error.as_ref(), circumstances()))
}

fn try_kernel_read(object: &mut Ebpf) -> Result<()> {
    let program: &mut RawTracePoint = program(object, "listen_tracepoint")?;
    program.load()?;
    // A hook that is adopted has no use for it.
    Ok(program.unload()?)
}

/// What explains refusals on this host.
fn circumstances() -> Circumstances {
    let missing = capabilities::missing();
    let lacks = |name| missing.iter().any(|capability| capability.name == name);
    Circumstances {
        mtu: None,
        lockdown: Lockdown::in_force(),
        lacks_perfmon: lacks("CAP_PERFMON"),
        lacks_net_admin: lacks("CAP_NET_ADMIN"),
        lacks_read_search: lacks("CAP_DAC_READ_SEARCH"),
        lacks_perf_events: perf_events_are_restricted() && !capabilities::has_sys_admin(),
    }
}

fn perf_events_are_restricted() -> bool {
    let level = std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid");
    level.is_ok_and(|level| level.trim().parse().is_ok_and(|level: i32| level > 2))
}

/// A program of the object, as its type.
fn program<'a, P>(object: &'a mut Ebpf, name: &str) -> Result<&'a mut P>
where
    &'a mut P: TryFrom<&'a mut Program, Error = ProgramError>,
{
    let program = object.program_mut(name).with_context(|| format!("no program {name}"))?;
    Ok(program.try_into()?)
}

/// An XDP program, loaded.
fn load_xdp<'a>(object: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    let program: &mut Xdp = program(object, name)?;
    if program.fd().is_err() {
        program.load()?;
    }
    Ok(program)
}

/// A TC program, loaded.
fn load_tc<'a>(object: &'a mut Ebpf, name: &str) -> Result<&'a mut SchedClassifier> {
    let program: &mut SchedClassifier = program(object, name)?;
    if program.fd().is_err() {
        program.load()?;
    }
    Ok(program)
}

/// A cgroup program, loaded.
fn load_cgroup<'a>(object: &'a mut Ebpf, name: &str) -> Result<&'a mut CgroupSock> {
    let program: &mut CgroupSock = program(object, name)?;
    if program.fd().is_err() {
        program.load()?;
    }
    Ok(program)
}

fn open_cgroup_root() -> Result<File> {
    let root = cgroup_root().context("no cgroup2 filesystem is mounted")?;
    File::open(&root).with_context(|| format!("{}", root.display()))
}

/// Where the traced functions stand, in the form in which aya takes it.
fn function_types<'a>(types: &KernelTypes, cache: &'a mut Option<Btf>) -> Result<&'a Btf> {
    if cache.is_none() {
        *cache = Some(Btf::parse(&types.of_functions(), Endianness::default())?);
    }
    cache.as_ref().context("no types")
}

/// Whether it may be the size of its packets for which an interface refused the plain program. To
/// load another one takes its time, and the loopback device refuses them all.
const fn may_need_fragments(interface: &Interface) -> bool {
    interface.mtu > ORDINARY_MTU
        && interface.index != LOOPBACK
        && !matches!(interface.link, Link::Veth)
}

const fn tc_program(hook: Hook, link: Link) -> &'static str {
    match (hook, link) {
        (Hook::Egress, Link::Ip) => "tc_egress_ip",
        (Hook::Egress, _) => "tc_egress",
        (_, Link::Ip) => "tc_ingress_ip",
        _ => "tc_ingress",
    }
}

/// A link of an interface that is gone still has its pin, but leads nowhere.
fn is_alive(pins: &Pins, link: &LinkName) -> bool {
    sys::link_facts(&pins.path(Room::Links, &link.pin()))
        .is_ok_and(|facts| link.ifindex == 0 || facts.ifindex == link.ifindex)
}

/// Where the unified cgroup hierarchy is mounted.
pub fn cgroup_root() -> Option<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").ok()?;
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let (_, path, kind) = (fields.next()?, fields.next()?, fields.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(path))
    })
}
