//! News of links, and of filters that are removed from them.

use std::{io, os::fd::OwnedFd};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SocketFlags, SocketType, bind, netlink::SocketAddrNetlink, recv,
        socket_with,
    },
};
use tokio::io::unix::AsyncFd;

use crate::{netlink::message_kinds, readable::readable};

/// Groups, `RTMGRP_LINK | RTMGRP_TC` of `include/uapi/linux/rtnetlink.h`.
const GROUPS: u32 = 1 | 8;

/// Message types, `include/uapi/linux/rtnetlink.h`: links that are new, changed or gone, and qdiscs
/// and filters that are gone.
const RELEVANT: [u16; 4] = [16, 17, 37, 45];

/// As large as a message is.
const RECEIVE_BYTES: usize = 64 * 1024;

/// Most messages that are read before the caller does its work.
const BATCH: usize = 1024;

/// A subscription to changes.
#[derive(Debug)]
pub(crate) struct NetworkChanges {
    socket: AsyncFd<OwnedFd>,
}

impl NetworkChanges {
    /// Subscribes to changes in the network namespace of this thread. Takes a runtime.
    pub(crate) fn subscribe() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
        Ok(Self { socket: readable(socket)? })
    }

    /// Waits for a change, and takes all that have happened by then. Cancel-safe.
    pub(crate) async fn next(&mut self) -> io::Result<()> {
        loop {
            let mut guard = self.socket.readable_mut().await?;
            let drained = drain(guard.get_inner())?;
            if !drained.has_more {
                guard.clear_ready();
            }
            if drained.is_relevant {
                return Ok(());
            }
        }
    }
}

struct Drained {
    is_relevant: bool,
    has_more: bool,
}

/// Reads what there is.
fn drain(socket: &OwnedFd) -> io::Result<Drained> {
    let mut room = vec![0; RECEIVE_BYTES];
    let mut is_relevant = false;
    for _ in 0..BATCH {
        match recv(socket, room.as_mut_slice(), RecvFlags::empty()) {
            Ok((length, _)) => {
                let datagram = room.get(..length).unwrap_or_default();
                is_relevant |= message_kinds(datagram).any(|kind| RELEVANT.contains(&kind));
            }
            // Messages were lost.
            Err(Errno::NOBUFS) => is_relevant = true,
            Err(Errno::AGAIN) => return Ok(Drained { is_relevant, has_more: false }),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Drained { is_relevant, has_more: true })
}
