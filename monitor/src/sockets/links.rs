//! The interfaces of the calling thread's network namespace, as the kernel lists them.

use std::{collections::BTreeSet, io};

use bytemuck::{Pod, Zeroable};

use monitor_kernel::netlink::{self, Attributes, beginning};

/// `RTM_GETLINK`, `include/uapi/linux/rtnetlink.h`.
const GET_LINK: u16 = 18;
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
    fn the_loopback_is_no_dummy() {
        assert!(!dummies().expect("a list").contains(&1));
    }
}
