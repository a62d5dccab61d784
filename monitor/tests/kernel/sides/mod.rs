//! Whose packet it is: by the addresses of this host, on a router, behind a redirection, on a bridge,
//! and as addresses come and go. And who began.

mod addresses;
mod priorities;
mod rare;
mod support;
mod topologies;
mod verdicts;
