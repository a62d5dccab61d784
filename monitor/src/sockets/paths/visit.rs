//! A look into network namespaces other than the caller's.

use std::{io, thread};

use crate::sockets::namespaces::{self, NamespacePath, Namespaces};

/// Calls `look` in every namespace but `own` that can be entered. A thread enters each; it does not
/// return to its own.
pub(super) fn others<T: Send>(
    known: &Namespaces,
    own: u32,
    look: impl Fn(u32) -> T + Sync,
) -> io::Result<Vec<(u32, T)>> {
    let others = known.paths.iter().filter(|(inode, _)| **inode != own);
    let visit = || {
        let enter = |(inode, paths): (&u32, &Vec<NamespacePath>)| {
            let namespace = paths.iter().find_map(|path| path.open(*inode).ok())?;
            namespaces::enter(&namespace).ok()?;
            Some((*inode, look(*inode)))
        };
        others.filter_map(enter).collect()
    };
    thread::scope(|scope| {
        thread::Builder::new()
            .name("namespaces".into())
            .spawn_scoped(scope, visit)?
            .join()
            .map_err(|_| io::Error::other("the thread that looks into namespaces has panicked"))
    })
}
