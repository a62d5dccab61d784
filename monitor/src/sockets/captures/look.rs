//! A look at some processes, which costs a fraction of a scan.

use std::{collections::HashMap, fs, io, os::unix::fs::MetadataExt as _, path::Path};

use super::{
    capture::Capture,
    list::{self, ListedCapture},
    search::Candidates,
};
use crate::{
    process::ProcessEnricher,
    sockets::{
        descriptors::{self, Found},
        holders::Holders,
        numbered,
        port_filter::PortFilter,
    },
};

/// The sockets by which the processes of `threads`, which are pairs of process and thread, take packets
/// of `ports` without holding them, or may take them. Sockets of a namespace that a thread has left are
/// not found.
///
/// # Errors
///
/// `/proc` cannot be read.
pub fn captures_of(
    threads: impl IntoIterator<Item = (u32, u32)>,
    ports: &[u16],
    processes: &mut ProcessEnricher,
) -> io::Result<Vec<Capture>> {
    let proc = numbered::proc()?;
    let mut found = Found::default();
    let mut listed = Vec::new();
    let mut namespaces = HashMap::<u32, Vec<ListedCapture>>::new();
    for (pid, thread) in threads {
        // A process that has ended has no sockets; a thread may have ended before its process.
        let folders = [format!("/proc/{pid}/task/{thread}"), format!("/proc/{pid}")];
        let namespace = folders.iter().find_map(|folder| {
            let netns = fs::metadata(Path::new(folder).join("ns/net")).ok()?;
            Some((folder, u32::try_from(netns.ino()).ok()?))
        });
        let Some((folder, netns)) = namespace else { continue };
        let sockets = match namespaces.get(&netns) {
            Some(sockets) => sockets,
            None => match list::of_folder(&Path::new(folder).join("net")) {
                Ok(sockets) => namespaces.entry(netns).or_insert(sockets),
                Err(_) => continue,
            },
        };
        let inodes = sockets.iter().map(|socket| socket.inode).filter(|inode| *inode != 0);
        descriptors::find_of(&proc, pid, &inodes.collect(), &mut found);
        let held = sockets.iter().filter(|socket| found.by_inode.contains_key(&socket.inode));
        listed.extend(held.map(|socket| (Some(netns), socket.clone())));
    }
    listed.sort_by_key(|(_, socket)| socket.inode);
    listed.dedup_by_key(|(_, socket)| socket.inode);
    let filter = PortFilter::new(ports);
    let mut candidates = Candidates::new(listed, &filter);
    candidates.ask_holders(&found);
    let mut holders = Holders::default();
    holders.add_found(found, processes);
    Ok(candidates.captures(&holders, false))
}
