//! Evidence of what a process executes: hash, package, and what is unusual about the file.
//!
//! [`Inspector`] looks at executables on a thread of its own, of low priority: no event waits for it. A
//! look reads in steps on threads that can be given up (`steps.rs`); parsers of ELF files and of the
//! databases of packages are pure. A file is hashed once for as long as its device, inode, size and
//! change time stay the same.

mod digest;
mod elf;
mod facts;
mod inspector;
mod interpreter;
mod look;
mod packages;
mod steps;

pub use self::{
    facts::{Evidence, ExecutableFacts, FileFacts, Package, PackageManager},
    inspector::{Inspected, Inspector, Purpose},
};
