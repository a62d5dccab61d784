//! How packets to a watched port are answered where no socket holds it: by whom, and who is there.
//!
//! Nothing is asked of the kernel that would load a module.

mod conntrack;
mod find;
mod ipvs;
mod legacy;
mod nft;
mod route;

pub use self::{
    find::{Extent, find},
    legacy::has_unread_rules,
    route::{Place, PortReach},
};
