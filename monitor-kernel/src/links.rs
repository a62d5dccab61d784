//! Links of attached programs: held open, and pinned where there is a BPF filesystem.

use std::{fs, io, os::fd::OwnedFd, path::Path};

use aya::programs::{
    kprobe::KProbeLink,
    links::{FdLink, LinkError},
    trace_point::TracePointLink,
};

use super::{
    hooks::{Hook, HookMechanism},
    pins::{PinDir, Pins},
    sys::{self, LinkFacts, detach_link, link_facts},
};

/// Why a link cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum LinksError {
    /// Pinning.
    #[error("cannot pin a link: {0}")]
    Pin(#[from] aya::pin::PinError),
    /// Pinning a link that aya does not know.
    #[error("cannot pin a link: {0}")]
    PinDescriptor(#[source] io::Error),
    /// Unpinning.
    #[error("cannot remove the pin of a link: {0}")]
    Io(#[from] io::Error),
}

/// Identity of a link, and the name of its pin.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkName {
    /// Hook that the link serves.
    pub hook: Hook,
    /// Mechanism of the hook.
    pub mechanism: HookMechanism,
    /// Interface, 0 where the hook has none.
    pub ifindex: u32,
    /// Program, of which a hook may have several.
    pub program: String,
}

impl LinkName {
    /// Name of its pin.
    pub fn pin(&self) -> String {
        format!("{}:{}:{}:{}", self.hook, self.mechanism, self.ifindex, self.program)
    }

    /// Whether it is of this hook on this interface, 0 for none.
    pub fn serves(&self, hook: Hook, ifindex: u32) -> bool {
        (self.hook, self.ifindex) == (hook, ifindex)
    }

    /// Whether a link of which the kernel says this does its work.
    fn is_served(&self, facts: LinkFacts) -> bool {
        facts.is_attached && facts.ifindex.is_none_or(|ifindex| ifindex == self.ifindex)
    }

    /// The name that a pin stands for.
    pub fn parse(pin: &str) -> Option<Self> {
        let mut parts = pin.split(':');
        Some(Self {
            hook: Hook::from_name(parts.next()?)?,
            mechanism: HookMechanism::from_name(parts.next()?)?,
            ifindex: parts.next()?.parse().ok()?,
            program: parts.next()?.to_owned(),
        })
    }
}

/// An attached program, which is detached when this is dropped.
#[derive(Debug)]
pub enum OwnedLink {
    /// A BPF link, which can be pinned.
    Link(FdLink),
    /// A BPF link that aya does not know.
    Descriptor(OwnedFd),
    /// A perf event, by which kernels before 5.15 attach to kprobes; it ends with the agent.
    KProbe(#[expect(dead_code, reason = "held to be dropped")] KProbeLink),
    /// The same for tracepoints.
    TracePoint(#[expect(dead_code, reason = "held to be dropped")] TracePointLink),
}

impl From<FdLink> for OwnedLink {
    fn from(link: FdLink) -> Self {
        Self::Link(link)
    }
}

impl From<OwnedFd> for OwnedLink {
    fn from(link: OwnedFd) -> Self {
        Self::Descriptor(link)
    }
}

impl OwnedLink {
    /// What the kernel says of it; `None` where the kernel is not to be asked: of a perf event, and
    /// of aya's links without CAP_SYS_ADMIN. They stay attached while they are open.
    fn facts(&self) -> Option<LinkFacts> {
        let facts = match self {
            Self::Descriptor(link) => sys::facts_of(link),
            Self::Link(link) => {
                sys::open_link(link.info().ok()?.id()).and_then(|link| sys::facts_of(&link))
            }
            Self::KProbe(_) | Self::TracePoint(_) => return None,
        };
        facts.ok()
    }

    /// Id of its program, if it is known.
    fn program(&self) -> Option<u32> {
        match self {
            Self::Descriptor(link) => Some(sys::facts_of(link).ok()?.program),
            Self::Link(link) => Some(link.info().ok()?.program_id()),
            Self::KProbe(_) | Self::TracePoint(_) => None,
        }
    }
}

impl TryFrom<KProbeLink> for OwnedLink {
    type Error = LinkError;

    fn try_from(link: KProbeLink) -> Result<Self, LinkError> {
        if perf_events_have_links() {
            Ok(Self::Link(link.try_into()?))
        } else {
            Ok(Self::KProbe(link))
        }
    }
}

impl TryFrom<TracePointLink> for OwnedLink {
    type Error = LinkError;

    fn try_from(link: TracePointLink) -> Result<Self, LinkError> {
        if perf_events_have_links() {
            Ok(Self::Link(link.try_into()?))
        } else {
            Ok(Self::TracePoint(link))
        }
    }
}

/// By aya's probe of the kernel.
fn perf_events_have_links() -> bool {
    aya::features().bpf_perf_link()
}

/// The links of this agent. Each is held open, so that it stays attached when its pin is removed.
#[derive(Debug, Default)]
pub struct Links {
    held: Vec<(LinkName, OwnedLink)>,
}

impl Links {
    /// Adopts the pinned links of an earlier agent, and removes pins that are none.
    pub fn adopt(pins: &Pins) -> Self {
        let open = |pin: &String| {
            let opened = LinkName::parse(pin).ok_or(io::Error::from(io::ErrorKind::InvalidData));
            let opened = opened.and_then(|name| {
                let link = sys::open_pinned_link(&pins.path(PinDir::Links, pin))?;
                Ok((name, OwnedLink::Descriptor(link)))
            });
            let garbage = |error: &io::Error| {
                tracing::warn!(%error, pin, "a pin that is no link of the agent is removed");
                if let Err(error) = pins.remove(PinDir::Links, pin) {
                    tracing::warn!(%error, pin, "it cannot be removed");
                }
            };
            opened.inspect_err(garbage).ok()
        };
        Self { held: pins.names(PinDir::Links).iter().filter_map(open).collect() }
    }

    /// Names of the links of a hook on an interface.
    pub fn of(&self, hook: Hook, ifindex: u32) -> Vec<&LinkName> {
        let names = self.held.iter().map(|(name, _)| name);
        names.filter(|name| name.serves(hook, ifindex)).collect()
    }

    /// Ids of the programs behind the links of the socket hooks, without those that are unknown.
    pub fn socket_programs(&self) -> Vec<u32> {
        let links = self.held.iter().filter(|(name, _)| name.ifindex == 0);
        let mut ids: Vec<u32> = links.filter_map(|(_, link)| link.program()).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// Interfaces that have a link.
    pub fn interfaces(&self) -> Vec<u32> {
        let mut indices: Vec<u32> =
            self.held.iter().map(|(name, _)| name.ifindex).filter(|index| *index != 0).collect();
        indices.sort_unstable();
        indices.dedup();
        indices
    }

    /// Keeps a link attached: by its descriptor, and by a pin, which outlives the agent.
    pub fn keep(
        &mut self,
        name: LinkName,
        link: OwnedLink,
        pins: Option<&Pins>,
    ) -> Result<(), LinksError> {
        let link = match (link, pins) {
            (OwnedLink::Link(link), Some(pins)) => {
                let pin = pins.path(PinDir::Links, &name.pin());
                link.pin(&pin)?;
                // The library does not give its descriptor.
                OwnedLink::Descriptor(sys::open_pinned_link(&pin)?)
            }
            (OwnedLink::Descriptor(link), Some(pins)) => {
                let pin = pins.path(PinDir::Links, &name.pin());
                sys::pin_link(&link, &pin).map_err(LinksError::PinDescriptor)?;
                OwnedLink::Descriptor(link)
            }
            (link, _) => link,
        };
        self.held.push((name, link));
        Ok(())
    }

    /// Whether the kernel has the links of a hook on an interface, of which there is at least one, and
    /// their programs attached. What the kernel does not say is taken for attached.
    pub fn are_attached(&self, hook: Hook, ifindex: u32) -> bool {
        let links = self.held.iter().filter(|(name, _)| name.serves(hook, ifindex));
        let mut links = links.peekable();
        links.peek().is_some()
            && links.all(|(name, link)| link.facts().is_none_or(|facts| name.is_served(facts)))
    }

    /// Pins the links again whose pins were removed, for the next agent.
    pub fn restore_pins(&self, pins: &Pins) {
        for (name, link) in &self.held {
            let OwnedLink::Descriptor(link) = link else { continue };
            let pin = pins.path(PinDir::Links, &name.pin());
            if fs::symlink_metadata(&pin).is_ok() {
                continue;
            }
            match sys::pin_link(link, &pin) {
                Ok(()) => {
                    tracing::warn!(pin = name.pin(), "something removed a pin: it is pinned again");
                }
                Err(error) => tracing::debug!(%error, pin = name.pin(), "a pin stays removed"),
            }
        }
    }

    /// Detaches the links that `wanted` selects.
    pub fn detach(
        &mut self,
        pins: Option<&Pins>,
        wanted: impl Fn(&LinkName) -> bool,
    ) -> Result<(), LinksError> {
        let (detached, kept) =
            std::mem::take(&mut self.held).into_iter().partition(|(name, _)| wanted(name));
        self.held = kept;
        let detached: Vec<(LinkName, OwnedLink)> = detached;
        for (name, link) in &detached {
            if let OwnedLink::Descriptor(link) = link
                && let Err(error) = sys::detach(link)
            {
                tracing::debug!(%error, name = name.pin(), "a link ends with its pin");
            }
            if let Some(pins) = pins {
                pins.remove(PinDir::Links, &name.pin())?;
            }
        }
        Ok(())
    }
}

/// Whether the kernel has a pinned link and its program attached. What the kernel does not say is
/// taken for attached.
pub fn is_attached(pin: &Path, name: &LinkName) -> bool {
    match link_facts(pin) {
        Ok(facts) => name.is_served(facts),
        Err(error) => !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData),
    }
}

/// Detaches every pinned link.
pub fn remove_all(pins: &Pins) -> io::Result<()> {
    pins.names(PinDir::Links).iter().try_for_each(|name| remove(pins, name))
}

/// Detaches a pinned link. A link that cannot be detached explicitly ends with its pin.
fn remove(pins: &Pins, name: &str) -> io::Result<()> {
    if let Err(error) = detach_link(&pins.path(PinDir::Links, name)) {
        tracing::debug!(%error, name, "a link ends with its pin");
    }
    pins.remove(PinDir::Links, name)
}
