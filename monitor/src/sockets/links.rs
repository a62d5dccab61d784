//! The interfaces of the calling thread's network namespace, as the kernel lists them.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use bytemuck::{Pod, Zeroable};

use monitor_kernel::netlink::{self, Attributes, beginning};

/// `RTM_GETLINK`, `include/uapi/linux/rtnetlink.h`.
const GET_LINK: u16 = 18;
/// `IFLA_IFNAME`, `IFLA_XDP` and, in that, `IFLA_XDP_PROG_ID` to `IFLA_XDP_HW_PROG_ID`: with programs at
/// several places the first is absent (`include/uapi/linux/if_link.h`).
const NAME: u16 = 3;
const XDP: u16 = 43;
const XDP_PROGRAMS: std::ops::RangeInclusive<u16> = 4..=7;
/// `IFLA_LINKINFO` and, in it, `IFLA_INFO_KIND` (`include/uapi/linux/if_link.h`).
const LINK_INFO: u16 = 18;
const INFO_KIND: u16 = 1;

/// `struct ifinfomsg`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Link {
    family: u8,
    padding: u8,
    /// `ARPHRD_…`: what packets begin with.
    pub(super) kind: u16,
    pub(super) index: u32,
    flags: u32,
    change: u32,
}

/// Indices of the dummy interfaces: no packet arrives there from elsewhere.
pub(super) fn dummies() -> io::Result<BTreeSet<u32>> {
    let mut found = BTreeSet::new();
    list(|link, attributes| {
        if is_dummy(attributes) {
            found.insert(link.index);
        }
    })?;
    Ok(found)
}

/// Names of the interfaces, by index.
pub(super) fn names() -> io::Result<BTreeMap<u32, String>> {
    let mut found = BTreeMap::new();
    list(|link, attributes| {
        found.extend(attributes.text(NAME).map(|name| (link.index, name.to_owned())));
    })?;
    Ok(found)
}

/// An XDP program on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct XdpProgram {
    /// Name of the interface.
    pub(super) interface: String,
    /// Id of the program.
    pub(super) id: u32,
}

/// The XDP programs of all interfaces.
pub(super) fn xdp_programs() -> io::Result<Vec<XdpProgram>> {
    let mut found = Vec::new();
    list(|_, attributes| {
        let interface = attributes.text(NAME).unwrap_or_default();
        let programs = programs_in(attributes).into_iter();
        found.extend(programs.map(|id| XdpProgram { interface: interface.to_owned(), id }));
    })?;
    Ok(found)
}

fn programs_in(link: Attributes<'_>) -> BTreeSet<u32> {
    let attributes = link.nested(XDP).into_iter().flatten();
    let programs = attributes.filter(|(kind, _)| XDP_PROGRAMS.contains(kind));
    programs.filter_map(|(_, id)| beginning::<u32>(id)).filter(|id| *id != 0).collect()
}

/// Calls `visit` with every interface.
pub(super) fn list(mut visit: impl FnMut(Link, Attributes<'_>)) -> io::Result<()> {
    let request = netlink::request(GET_LINK, bytemuck::bytes_of(&Link::zeroed()), &[]);
    netlink::dump(None, &request, |body| {
        let link: Link = beginning(body).ok_or(io::ErrorKind::InvalidData)?;
        visit(link, Attributes::behind(body, size_of::<Link>()));
        Ok(())
    })
}

fn is_dummy(link: Attributes<'_>) -> bool {
    link.nested(LINK_INFO).and_then(|info| info.text(INFO_KIND)) == Some("dummy")
}

#[cfg(test)]
mod tests {
    use super::*;
    use monitor_kernel::netlink::attribute;

    #[test]
    fn finds_the_kind_of_a_link() {
        let link = |kind: &[u8]| attribute(LINK_INFO, &attribute(INFO_KIND, kind));
        let is_dummy = |bytes: &[u8]| is_dummy(Attributes::behind(bytes, 0));
        assert!(is_dummy(&link(b"dummy\0")));
        assert!(!is_dummy(&link(b"veth\0")) && !is_dummy(&[]));
    }

    #[test]
    fn finds_the_programs_of_a_link() {
        let program = |kind, id: u32| attribute(kind, &id.to_ne_bytes());
        let ids = |nested: &[u8]| {
            let link = attribute(XDP, nested);
            programs_in(Attributes::behind(&link, 0)).into_iter().collect::<Vec<_>>()
        };
        // Of a driver: the id is there twice, behind the mode.
        let mode = [&attribute(2, &[1])[..], &[0; 3]].concat();
        let driver = [mode, program(4, 7), program(5, 7)].concat();
        assert_eq!(ids(&driver), [7]);
        assert_eq!(ids(&[program(5, 7), program(7, 9)].concat()), [7, 9]);
        assert_eq!(ids(&program(4, 0)), [0; 0]);
    }

    #[test]
    fn the_loopback_is_no_dummy() {
        assert!(!dummies().expect("a list").contains(&1));
    }
}
