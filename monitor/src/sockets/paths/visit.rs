//! A look into network namespaces other than the caller's.

use std::io;

use crate::sockets::namespaces::{self, NamespacePath, Namespaces};

/// Calls `look` in every namespace but `own` that can be entered. A thread enters each; it does not
/// return to its own.
pub(super) fn others<T: Send>(
    known: &Namespaces,
    own: u32,
    look: impl Fn(u32) -> T + Sync,
) -> io::Result<Vec<(u32, T)>> {
    let others = known.paths.iter().filter(|(inode, _)| **inode != own);
    namespaces::on_own_thread(|| {
        let enter = |(inode, paths): (&u32, &Vec<NamespacePath>)| {
            let namespace = paths.iter().find_map(|path| path.open(*inode).ok())?;
            namespaces::enter(&namespace).ok()?;
            Some((*inode, look(*inode)))
        };
        others.filter_map(enter).collect()
    })
}
