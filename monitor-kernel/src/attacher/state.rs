//! What is attached, and what all hooks have in common.

use std::{collections::BTreeMap, os::fd::OwnedFd, path::Path};

use anyhow::Result;
use aya::Ebpf;

use super::losses::Losses;
use crate::{
    adoption, attach_error,
    btf::KernelTypes,
    candidates::Candidates,
    capture_watch::CaptureWatch,
    clsact::{self, Filter},
    hooks::{Hook, HookMechanism, HookStatus, Rejection},
    host_constraints::HostConstraints,
    interfaces::Interface,
    link_kind::Link,
    links::{LinkName, Links, OwnedLink},
    pins::Pins,
    program_loader::ProgramLoader,
    programs::{self, Environment, ProgramSpec},
    record::{self, Record},
    socket_access::WITHOUT_TYPES,
};

/// The hooks, and the links and filters that keep them attached.
#[derive(Debug)]
pub struct Attacher {
    pub(super) loader: ProgramLoader,
    pub(super) links: Links,
    pub(super) filters: Vec<Filter>,
    pub(super) statuses: BTreeMap<(Hook, u32), HookStatus>,
    /// The record of the agent that left its hooks.
    pub(super) left: Option<Record>,
    /// Why programs cannot read sockets, if they cannot.
    pub(super) sockets_unsupported: Option<String>,
    /// Why the iterator over open files cannot run, if it cannot.
    pub(super) holders_unsupported: Option<String>,
    pub(super) constraints: HostConstraints,
    pub(super) captures: CaptureWatch,
    /// Why new packet sockets are not noticed at once, if so.
    pub(super) captures_unsupported: Option<String>,
    /// Programs of the socket hooks, open for their statistics.
    pub(super) socket_programs: Vec<OwnedFd>,
    /// Hooks that were detached behind the agent.
    pub(super) losses: Losses,
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
            losses: Losses::default(),
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

    pub(super) fn adopt_links(
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

    /// Attempts one candidate after the other until one succeeds.
    pub(super) fn attach_first(
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

    pub(super) fn keep(
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

    pub(super) fn environment(&self, link: Link) -> Environment {
        Environment {
            has_bind_sk: programs::has_bind_sk(|name| self.loader.types().have_function(name)),
            listen_parameters: self.loader.types().listen_parameters(),
            sockets_are_readable: self.sockets_unsupported.is_none(),
            link,
        }
    }
}
