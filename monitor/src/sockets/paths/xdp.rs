//! XDP programs of others, which run before the stack: what they keep no socket gets.

use std::{io, sync::Arc};

use monitor_kernel::{
    interfaces::{self, Interface},
    other_programs::{self, OtherProgram},
};

use crate::{
    process::Identity,
    sockets::{
        captures::{Capture, CaptureKind},
        holders::distinct,
    },
};

/// An XDP program on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct XdpProgram {
    /// Name of the interface.
    pub(super) interface: String,
    /// Id of the program.
    pub(super) id: u32,
}

/// An XDP program that may take packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Taker {
    /// The program and its interface, in words.
    pub(super) program: String,
    /// Its id.
    pub(super) id: u32,
    /// Whether it may give packets to AF_XDP sockets of that interface.
    pub(super) has_sockets: bool,
    /// The holders of these sockets.
    pub(super) holders: Vec<Arc<Identity>>,
}

/// The XDP programs of the calling thread's network namespace, which is `netns_inode`, without those
/// that `is_own`; `captures` are those of every namespace.
pub(super) fn takers(
    netns_inode: u32,
    captures: &[Capture],
    is_own: impl Fn(&XdpProgram, &OtherProgram) -> bool,
) -> io::Result<Vec<Taker>> {
    let of_interface = |Interface { name, xdp_programs, .. }| {
        xdp_programs.into_iter().map(move |id| XdpProgram { interface: name.clone(), id })
    };
    let programs = interfaces::here()?.into_values().flat_map(of_interface);
    let programs = programs.map(|program| (other_programs::by_id(program.id), program));
    let others = programs.filter(|(named, program)| !is_own(program, named));
    Ok(others.map(|(named, program)| taker(&program, &named, netns_inode, captures)).collect())
}

fn taker(
    program: &XdpProgram,
    named: &OtherProgram,
    netns_inode: u32,
    captures: &[Capture],
) -> Taker {
    let is_there = |capture: &&Capture| {
        capture.kind == CaptureKind::Xdp
            && capture.netns_inode == Some(netns_inode)
            && capture.queue.as_ref().is_none_or(|queue| queue.interface == program.interface)
    };
    let sockets = || captures.iter().filter(is_there);
    Taker {
        program: format!("{named} on {}", program.interface),
        id: program.id,
        has_sockets: sockets().next().is_some(),
        holders: distinct(sockets().flat_map(|socket| &socket.holders)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sockets::captures::{Queue, Scope, packet_socket};

    #[test]
    fn gives_packets_to_sockets_of_its_interface() {
        let socket = |interface: &str, pid| Capture {
            kind: CaptureKind::Xdp,
            queue: Some(Queue { interface: interface.to_owned(), number: 0 }),
            holders: vec![Arc::new(Identity::unknown(pid))],
            ..packet_socket(Scope::Unknown)
        };
        let sockets = [socket("eth0", 7), socket("eth1", 8), packet_socket(Scope::Everything)];
        let here = sockets[0].netns_inode.expect("an inode");
        let program = XdpProgram { interface: "eth0".to_owned(), id: 12 };
        let named = OtherProgram { id: 12, name: Some("xsk_def_prog".to_owned()) };
        let found = taker(&program, &named, here, &sockets);
        assert_eq!(found.program, "xsk_def_prog (program 12) on eth0");
        assert_eq!(found.holders, [Arc::new(Identity::unknown(7))]);
        assert!(found.has_sockets && !taker(&program, &named, here + 1, &sockets).has_sockets);
    }
}
