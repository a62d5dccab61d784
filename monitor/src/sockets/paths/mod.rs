//! How packets to a watched port are answered where no socket holds it: by whom, and who is there.
//!
//! Nothing is asked of the kernel that would load a module.

mod conntrack;
mod ends;
mod explain;
mod find;
mod ipvs;
mod judge;
mod legacy;
mod nft;
mod program_holders;
mod programs;
mod route;
mod socket_maps;
mod timeouts;
mod visit;
mod xdp;

pub use self::{
    conntrack::masqueraded,
    explain::{Evidence, explain, programs_that_choose_sockets},
    find::{Extent, find, tables_are_readable},
    legacy::has_unread_rules,
    programs::find as find_programs,
    route::{Place, PortReach},
};
pub(super) use self::{ends::Ends, route::Target};
