//! The processes that have a BPF program or its link open.

use std::{fs, io, path::Path as FilePath, sync::Arc};

use rustix::fs::readlinkat;

use crate::{
    process::{Identity, ProcessEnricher, proc_dir::ProcessDir},
    sockets::numbered,
};

/// What `/proc/PID/fd` shows of a program and of a link.
const KINDS: [&[u8]; 2] = [b"anon_inode:bpf-prog", b"anon_inode:bpf_link"];

/// The processes that have the program with this id open, or a link of it. A program that is pinned or
/// attached by its own needs none.
pub(super) fn find(program: u32, processes: &mut ProcessEnricher) -> Vec<Arc<Identity>> {
    let mut found = Vec::new();
    let searched = search(program, |pid| {
        let identity = ProcessDir::open(pid).and_then(|process| processes.look_at(&process));
        found.extend(identity.ok().map(Arc::new));
    });
    if let Err(error) = searched {
        tracing::debug!(%error, "who has a program open stays unknown");
    }
    found
}

fn search(program: u32, mut visit: impl FnMut(u32)) -> io::Result<()> {
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
                has_it = fs::read_to_string(info).is_ok_and(|info| is_about(&info, program));
            }
        });
        if has_it {
            visit(pid);
        }
    })
}

/// Whether `/proc/PID/fdinfo/FD` has the line `prog_id:\t12`.
fn is_about(info: &str, program: u32) -> bool {
    let ids = info.lines().filter_map(|line| line.strip_prefix("prog_id:"));
    ids.into_iter().any(|id| id.trim().parse() == Ok(program))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_program_of_a_descriptor() {
        let info =
            "pos:\t0\nlink_type:\tnetns\nlink_id:\t3\nprog_id:\t12\nnetns_ino:\t4026531840\n";
        assert!(is_about(info, 12));
        assert!(!is_about(info, 3) && !is_about("", 12));
    }
}
