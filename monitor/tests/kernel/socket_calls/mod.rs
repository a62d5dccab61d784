//! Socket calls are counted and reported exactly once each: process, address, call and result.

mod bench;
mod every_call;
mod in_the_way;
mod losses;
mod particular;
mod rare;
mod shares;
