//! Filters and clsact qdiscs, by the index of their interface: a name can change between two
//! messages.

use std::{io, os::fd::RawFd};

use bytemuck::{Pod, Zeroable};

use crate::{
    hooks::Hook,
    netlink::{Attributes, Socket, append_attribute, beginning, request},
};

/// Message types, `include/uapi/linux/rtnetlink.h`.
const NEW_QDISC: u16 = 36;
const DELETE_QDISC: u16 = 37;
const NEW_FILTER: u16 = 44;
const DELETE_FILTER: u16 = 45;
const GET_FILTER: u16 = 46;

/// `NLM_F_CREATE | NLM_F_EXCL`.
const CREATE: u16 = 0x600;

/// Attributes of qdiscs and filters: `TCA_KIND`, `TCA_OPTIONS`.
const KIND: u16 = 1;
const OPTIONS: u16 = 2;

/// Attributes of a BPF filter (`include/uapi/linux/pkt_cls.h`), and `TCA_BPF_FLAG_ACT_DIRECT`.
const BPF_PROGRAM: u16 = 6;
const BPF_NAME: u16 = 7;
const BPF_FLAGS: u16 = 8;
const BPF_ID: u16 = 11;
const DIRECT_ACTION: u32 = 1;

/// `TC_H_CLSACT` and the handle of its qdisc.
const CLSACT: u32 = 0xffff_fff1;
const CLSACT_HANDLE: u32 = 0xffff_0000;

/// `ETH_P_ALL`, in network byte order.
const EVERY_PROTOCOL: u16 = 3u16.to_be();

/// "gp": unlikely to be used by another program.
const HANDLE: u32 = 0x6770_0001;

/// `struct tcmsg`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Head {
    family: u8,
    padding: [u8; 3],
    ifindex: u32,
    handle: u32,
    parent: u32,
    /// Priority and protocol of a filter.
    info: u32,
}

/// The place of a filter of ghostport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FilterPlace {
    /// Ingress or egress.
    pub(crate) hook: Hook,
    /// Index of the interface.
    pub(crate) ifindex: u32,
    /// Its place among the filters of the hook.
    pub(crate) priority: u16,
}

impl FilterPlace {
    fn head(self) -> Head {
        Head {
            ifindex: self.ifindex,
            handle: HANDLE,
            parent: parent(self.hook),
            info: u32::from(self.priority) << 16 | u32::from(EVERY_PROTOCOL),
            ..Head::zeroed()
        }
    }
}

/// Makes the clsact qdisc of an interface. Returns false if there is one.
pub(crate) fn add_clsact(socket: &mut Socket, ifindex: u32) -> io::Result<bool> {
    match socket.order(NEW_QDISC, CREATE, bytemuck::bytes_of(&qdisc(ifindex)), &kind("clsact")) {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes an interface's clsact qdisc, unless it has filters.
pub(crate) fn remove_empty_clsact(socket: &mut Socket, ifindex: u32) -> io::Result<()> {
    for hook in Hook::OF_TRAFFIC {
        let head = Head { ifindex, parent: parent(hook), ..Head::zeroed() };
        let mut is_used = false;
        socket.ask(&request(GET_FILTER, bytemuck::bytes_of(&head), &[]), |_| {
            is_used = true;
            Ok(())
        })?;
        if is_used {
            return Ok(());
        }
    }
    socket.order(DELETE_QDISC, 0, bytemuck::bytes_of(&qdisc(ifindex)), &[])
}

/// Makes a filter that runs a program and takes its result as the verdict.
pub(crate) fn add_filter(
    socket: &mut Socket,
    place: FilterPlace,
    program: RawFd,
    name: &str,
) -> io::Result<()> {
    let attributes = filter(program, name);
    socket.order(NEW_FILTER, CREATE, bytemuck::bytes_of(&place.head()), &attributes)
}

/// Replaces the program of a filter without a gap; an error if there is no such filter.
pub(crate) fn replace_program(
    socket: &mut Socket,
    place: FilterPlace,
    program: RawFd,
    name: &str,
) -> io::Result<()> {
    socket.order(NEW_FILTER, 0, bytemuck::bytes_of(&place.head()), &filter(program, name))
}

/// Removes a filter.
pub(crate) fn remove_filter(socket: &mut Socket, place: FilterPlace) -> io::Result<()> {
    let attributes = kind("bpf");
    socket.order(DELETE_FILTER, 0, bytemuck::bytes_of(&place.head()), &attributes)
}

/// Id of the program of a filter; an error if there is no such filter, or its interface is gone.
pub(crate) fn filter_program(socket: &mut Socket, place: FilterPlace) -> io::Result<u32> {
    let message = socket.get(GET_FILTER, bytemuck::bytes_of(&place.head()), &kind("bpf"))?;
    let head: Head = beginning(&message).ok_or(io::ErrorKind::InvalidData)?;
    let options = Attributes::behind(&message, size_of::<Head>()).nested(OPTIONS);
    let id = options.and_then(|options| options.u32(BPF_ID));
    id.filter(|_| head.handle == HANDLE).ok_or_else(|| io::ErrorKind::NotFound.into())
}

const fn parent(hook: Hook) -> u32 {
    // `TC_H_MIN_INGRESS` and `TC_H_MIN_EGRESS`.
    match hook {
        Hook::Egress => CLSACT_HANDLE | 0xfff3,
        _ => CLSACT_HANDLE | 0xfff2,
    }
}

fn qdisc(ifindex: u32) -> Head {
    Head { ifindex, handle: CLSACT_HANDLE, parent: CLSACT, ..Head::zeroed() }
}

fn kind(kind: &str) -> Vec<u8> {
    let mut attributes = Vec::new();
    append_attribute(&mut attributes, KIND, &with_nul(kind));
    attributes
}

fn filter(program: RawFd, name: &str) -> Vec<u8> {
    let mut options = Vec::new();
    append_attribute(&mut options, BPF_PROGRAM, &program.to_ne_bytes());
    append_attribute(&mut options, BPF_NAME, &with_nul(name));
    append_attribute(&mut options, BPF_FLAGS, &DIRECT_ACTION.to_ne_bytes());
    let mut attributes = kind("bpf");
    append_attribute(&mut attributes, OPTIONS, &options);
    attributes
}

fn with_nul(text: &str) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}
