//! Filters on a clsact qdisc: the TC mechanism of kernels before 6.6.
//!
//! A filter is no link: it outlives the process that created it. Markers among the pins identify the
//! filters and qdiscs that an agent created.

use aya::programs::{
    SchedClassifier, TcAttachType,
    tc::{NlOptions, SchedClassifierLink, TcAttachOptions, TcError, TcHandle, qdisc_add_clsact},
};

use super::{
    hooks::Hook,
    interfaces::Interface,
    pins::{PinDir, Pins},
};

/// "gp": unlikely to be used by another program.
const HANDLE: TcHandle = TcHandle::new(0x6770, 1);

/// Priorities to try: one may be taken by a filter of another kind.
const PRIORITIES: std::ops::RangeInclusive<u16> = 1..=8;

/// A filter that an agent created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Ingress or egress.
    pub hook: Hook,
    /// Interface.
    pub ifindex: u32,
    priority: u16,
}

impl Filter {
    fn marker(&self) -> String {
        format!("{}:{}:{}", self.hook, self.ifindex, self.priority)
    }

    fn parse(marker: &str) -> Option<Self> {
        let mut parts = marker.split(':');
        Some(Self {
            hook: Hook::from_name(parts.next()?)?,
            ifindex: parts.next()?.parse().ok()?,
            priority: parts.next()?.parse().ok()?,
        })
    }

    fn link(&self, interface: &str) -> Result<SchedClassifierLink, TcError> {
        let link = SchedClassifierLink::attached(
            interface,
            attach_type(self.hook),
            self.priority,
            HANDLE,
            None,
        );
        link.map_err(TcError::IoError)
    }
}

/// Filters that an earlier agent left.
pub fn filters(pins: &Pins) -> Vec<Filter> {
    pins.names(PinDir::Filters).iter().filter_map(|marker| Filter::parse(marker)).collect()
}

/// Puts `program` on the interface's clsact qdisc, which is created if it is missing. If `left` is an
/// existing filter, its program is replaced without a gap.
pub fn attach(
    program: &mut SchedClassifier,
    hook: Hook,
    interface: &Interface,
    left: Option<&Filter>,
    pins: Option<&Pins>,
) -> anyhow::Result<Filter> {
    if let Some(filter) = left
        && let Ok(id) = program.attach_to_link(filter.link(&interface.name)?)
    {
        std::mem::forget(program.take_link(id)?);
        return Ok(filter.clone());
    }
    let created = match qdisc_add_clsact(&interface.name) {
        Ok(()) => true,
        Err(error) if exists_already(&error) => false,
        Err(error) => return Err(error.into()),
    };
    if let (true, Some(pins)) = (created, pins) {
        pins.mark(PinDir::Qdiscs, &interface.index.to_string())?;
    }
    let mut refused = None;
    for priority in PRIORITIES {
        let options =
            TcAttachOptions::Netlink(NlOptions { priority, handle: HANDLE, classid: None });
        match program.attach_with_options(&interface.name, attach_type(hook), options) {
            Ok(id) => {
                // The link would remove the filter when it is dropped.
                std::mem::forget(program.take_link(id)?);
                let filter = Filter { hook, ifindex: interface.index, priority };
                if let Some(pins) = pins {
                    pins.mark(PinDir::Filters, &filter.marker())?;
                }
                return Ok(filter);
            }
            Err(error) => refused = Some(error),
        }
    }
    Err(refused.map_or_else(|| anyhow::anyhow!("no priority is free"), Into::into))
}

/// Removes a filter; an interface that is gone has taken its filters with it.
pub fn detach(filter: &Filter, interface: Option<&str>, pins: Option<&Pins>) -> anyhow::Result<()> {
    if let Some(interface) = interface {
        drop(filter.link(interface)?);
    }
    if let Some(pins) = pins {
        pins.remove(PinDir::Filters, &filter.marker())?;
    }
    Ok(())
}

/// Interfaces whose clsact qdisc an agent created, and on which none of its filters is left.
pub fn idle_qdiscs(pins: &Pins) -> Vec<u32> {
    let used: Vec<u32> = filters(pins).iter().map(|filter| filter.ifindex).collect();
    let qdiscs = pins.names(PinDir::Qdiscs);
    qdiscs
        .iter()
        .filter_map(|name| name.parse().ok())
        .filter(|index| !used.contains(index))
        .collect()
}

/// Removes the marker of the clsact qdisc of an interface.
pub fn forget_qdisc(pins: &Pins, ifindex: u32) -> anyhow::Result<()> {
    Ok(pins.remove(PinDir::Qdiscs, &ifindex.to_string())?)
}

fn attach_type(hook: Hook) -> TcAttachType {
    match hook {
        Hook::Egress => TcAttachType::Egress,
        _ => TcAttachType::Ingress,
    }
}

fn exists_already(error: &TcError) -> bool {
    matches!(error, TcError::AlreadyAttached)
        || super::attach_error::root_errno(error) == Some(libc::EEXIST)
}
