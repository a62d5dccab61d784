//! What the rules of nftables lead elsewhere, those of `iptables-nft` included.
//!
//! Instead of understanding rules as text, each is run on a packet of which only protocol and port
//! are known, and the destination, which is an address of this host. Where a rule asks for anything
//! else, it may match.

mod bytes;
mod compat;
mod machine;
mod ruleset;
mod walk;

use std::io;

use monitor_common::flow::Protocol;

use self::ruleset::Ruleset;
use super::route::Route;
use crate::sockets::{addresses::Addresses, kernel_modules::Module};

/// Whether the kernel has nftables, and its rules can be listed without loading a module.
pub(super) fn is_present() -> bool {
    Module::Nfnetlink.can_be_asked() && Module::NfTables.can_be_asked()
}

/// The routes of packets to `wanted` at an address of `local`, by the rules of the calling thread's
/// network namespace.
pub(super) fn routes(wanted: &[(u16, Protocol)], local: &Addresses) -> io::Result<Vec<Route>> {
    let ruleset = Ruleset::read()?;
    if ruleset.is_empty() {
        return Ok(Vec::new());
    }
    let routes =
        wanted.iter().map(|(port, protocol)| walk::routes(&ruleset, *port, *protocol, local));
    Ok(routes.flatten().collect())
}
