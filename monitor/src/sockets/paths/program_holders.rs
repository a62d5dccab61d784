//! The processes that have a BPF program, its link, or a map open.

use std::{fs, io, path::Path as FilePath, sync::Arc};

use rustix::fs::readlinkat;

use crate::{
    process::{Identity, ProcessEnricher, proc_dir::ProcessDir},
    sockets::numbered,
};

/// What `/proc/PID/fd` shows of a program, of a link and of a map.
const KINDS: [&[u8]; 3] = [b"anon_inode:bpf-prog", b"anon_inode:bpf_link", b"anon_inode:bpf-map"];

/// A program or a map, by its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Object {
    Program(u32),
    Map(u32),
}

/// The processes that have one of these objects open, or a link of a program. One that is pinned or
/// attached by its own needs none.
pub(super) fn find(objects: &[Object], processes: &mut ProcessEnricher) -> Vec<Arc<Identity>> {
    let mut found = Vec::new();
    let searched = search(objects, |pid| {
        let identity = ProcessDir::open(pid).and_then(|process| processes.look_at(&process));
        found.extend(identity.ok().map(Arc::new));
    });
    if let Err(error) = searched {
        tracing::debug!(%error, "who has a program or a map open stays unknown");
    }
    found
}

fn search(objects: &[Object], mut visit: impl FnMut(u32)) -> io::Result<()> {
    let proc = numbered::proc()?;
    numbered::each(&proc, |name| {
        let Some(pid) = numbered::number(name) else { return };
        // Those that have ended, or whose descriptors may not be read.
        let Ok(folder) = numbered::open(&proc, &format!("{pid}/fd")) else { return };
        let mut has_it = false;
        let _ = numbered::each(&folder, |descriptor| {
            let Some(number) = numbered::number(descriptor).filter(|_| !has_it) else { return };
            let Ok(link) = readlinkat(&folder, descriptor, Vec::new()) else { return };
            if KINDS.contains(&link.as_bytes()) {
                let info = FilePath::new("/proc").join(format!("{pid}/fdinfo/{number}"));
                has_it = fs::read_to_string(info).is_ok_and(|info| is_about(&info, objects));
            }
        });
        if has_it {
            visit(pid);
        }
    })
}

/// Whether `/proc/PID/fdinfo/FD` has the line `prog_id:\t12` or `map_id:\t12` of an object.
fn is_about(info: &str, objects: &[Object]) -> bool {
    let object = |line: &str| {
        let (key, id) = line.split_once(':')?;
        let id = id.trim().parse().ok()?;
        match key {
            "prog_id" => Some(Object::Program(id)),
            "map_id" => Some(Object::Map(id)),
            _ => None,
        }
    };
    info.lines().filter_map(object).any(|object| objects.contains(&object))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_program_of_a_descriptor() {
        let info =
            "pos:\t0\nlink_type:\tnetns\nlink_id:\t3\nprog_id:\t12\nnetns_ino:\t4026531840\n";
        assert!(is_about(info, &[Object::Program(12)]));
        assert!(!is_about(info, &[Object::Program(3), Object::Map(12)]));
        assert!(is_about("map_type:\t15\nmap_id:\t3\n", &[Object::Program(12), Object::Map(3)]));
        assert!(!is_about("", &[Object::Program(12)]));
    }
}
