//! Filters on a clsact qdisc: the TC mechanism of kernels before 6.6.
//!
//! A filter is no link: it outlives the process that created it. Markers among the pins identify the
//! filters and qdiscs that an agent created.

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _},
};

use anyhow::{Context as _, Result};
use aya::programs::SchedClassifier;

use super::{
    hooks::Hook,
    netlink::Socket,
    pins::{PinDir, Pins},
    tc::{self, FilterPlace},
};

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

    /// The filter that a marker stands for.
    pub fn parse(marker: &str) -> Option<Self> {
        let mut parts = marker.split(':');
        Some(Self {
            hook: Hook::from_name(parts.next()?)?,
            ifindex: parts.next()?.parse().ok()?,
            priority: parts.next()?.parse().ok()?,
        })
    }

    /// Whether it is of this hook on this interface.
    pub fn serves(&self, hook: Hook, ifindex: u32) -> bool {
        (self.hook, self.ifindex) == (hook, ifindex)
    }

    const fn place(&self) -> FilterPlace {
        FilterPlace { hook: self.hook, ifindex: self.ifindex, priority: self.priority }
    }

    /// Id of its program; an error if there is none, or if the kernel cannot be asked.
    pub fn program(&self, socket: &mut Socket) -> io::Result<u32> {
        tc::filter_program(socket, self.place())
    }

    /// Whether the kernel has it; an error if the kernel cannot be asked.
    pub fn is_attached(&self, socket: &mut Socket) -> io::Result<bool> {
        match self.program(socket) {
            Ok(_) => Ok(true),
            // An interface or a qdisc that is gone has taken its filters with it.
            Err(error) if is_absence(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Filters that an earlier agent left.
pub fn filters(pins: &Pins) -> Vec<Filter> {
    pins.names(PinDir::Filters).iter().filter_map(|marker| Filter::parse(marker)).collect()
}

/// Puts `program` on the interface's clsact qdisc, which is created if it is missing. If `left` is an
/// existing filter, its program is replaced without a gap.
pub fn attach(
    program: &SchedClassifier,
    name: &str,
    hook: Hook,
    ifindex: u32,
    left: Option<&Filter>,
    pins: Option<&Pins>,
) -> Result<Filter> {
    let program = program.fd()?.as_fd().as_raw_fd();
    let mut socket = Socket::open(None)?;
    if let Some(filter) = left
        && tc::replace_program(&mut socket, filter.place(), program, name).is_ok()
    {
        return Ok(filter.clone());
    }
    if tc::add_clsact(&mut socket, ifindex)?
        && let Some(pins) = pins
    {
        pins.mark(PinDir::Qdiscs, &ifindex.to_string())?;
    }
    let mut refused = None;
    for priority in PRIORITIES {
        let filter = Filter { hook, ifindex, priority };
        match tc::add_filter(&mut socket, filter.place(), program, name) {
            Ok(()) => {
                if let Some(pins) = pins {
                    if let Some(left) = left {
                        pins.remove(PinDir::Filters, &left.marker())?;
                    }
                    pins.mark(PinDir::Filters, &filter.marker())?;
                }
                return Ok(filter);
            }
            Err(error) => refused = Some(error),
        }
    }
    Err(refused.context("no priority is free")?.into())
}

/// Removes a filter; an interface that is gone has taken its filters with it.
pub fn detach(filter: &Filter, pins: Option<&Pins>) -> Result<()> {
    if let Err(error) = tc::remove_filter(&mut Socket::open(None)?, filter.place()) {
        tracing::debug!(%error, ?filter, "no filter to remove");
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
pub fn forget_qdisc(pins: &Pins, ifindex: u32) -> Result<()> {
    Ok(pins.remove(PinDir::Qdiscs, &ifindex.to_string())?)
}

/// Whether the kernel says by this error that there is no such filter: without the interface, without
/// its qdisc, and without the filter.
fn is_absence(error: &io::Error) -> bool {
    let absent = [libc::ENODEV, libc::EINVAL, libc::ENOENT];
    error.kind() == io::ErrorKind::NotFound
        || error.raw_os_error().is_some_and(|errno| absent.contains(&errno))
}
