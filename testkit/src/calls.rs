//! Socket calls that a test makes, and the events that must follow.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::process::parent_id,
    },
    process, ptr, thread,
};

use rustix::{
    io::Errno,
    net::{AddressFamily, Protocol, SocketFlags, SocketType, bind, listen, socket_with, sockopt},
    thread::{Uid, gettid, set_thread_res_uid},
};
use serde_json::{Value, json};

use super::{process::command_args, world::netns_inode};

/// What `bind.mechanism` can force, best first.
pub const MECHANISMS: [&str; 4] = ["fexit", "kprobe", "cgroup", "tracepoint"];

/// A user without privileges.
pub const NOBODY: u32 = 65534;

/// A call that must have been seen.
#[derive(Clone, Debug)]
pub struct Call {
    /// `listen`, `close`, or the result of a bind.
    pub what: &'static str,
    /// Transport protocol: `tcp` or `udp`.
    pub transport: &'static str,
    /// Of the socket: `ipv4` or `ipv6`.
    pub family: &'static str,
    /// Where the socket is, or would be; `None` for one of another family than the socket's.
    pub address: Option<IpAddr>,
    /// Port of that address.
    pub port: u16,
    /// Name of the error, if the call failed.
    pub errno: Option<&'static str>,
    /// Of the namespace.
    pub netns: u64,
    /// Process id of the caller.
    pub pid: u32,
    /// Process id of its parent.
    pub parent: u32,
    /// Its arguments, as far as events have them.
    pub args: Vec<String>,
    /// Name of the process.
    pub process: String,
    /// Name of the thread.
    pub thread: String,
    /// Id of the thread.
    pub thread_id: u32,
    /// Effective user.
    pub user: u32,
    /// Real user.
    pub real_user: u32,
    /// Whether the socket listened: all that the last rung knows of closing.
    pub listened: bool,
}

impl Call {
    /// A call by this thread.
    pub fn here(what: &'static str, transport: &'static str, address: SocketAddr) -> Self {
        let thread = fs::read_to_string("/proc/thread-self/comm").expect("a name");
        let process = fs::read_to_string("/proc/self/comm").expect("a name");
        Self {
            what,
            transport,
            family: if address.is_ipv4() { "ipv4" } else { "ipv6" },
            address: Some(address.ip()),
            port: address.port(),
            errno: None,
            netns: netns_inode(),
            pid: process::id(),
            parent: parent_id(),
            args: command_args(process::id()),
            process: process.trim_end().to_owned(),
            thread: thread.trim_end().to_owned(),
            thread_id: gettid().as_raw_nonzero().get().cast_unsigned(),
            user: 0,
            real_user: 0,
            listened: false,
        }
    }

    /// The same, failed with this error.
    pub fn refused(self, errno: &'static str) -> Self {
        Self { errno: Some(errno), ..self }
    }

    /// The same of a socket that listened.
    pub fn after_listening(self) -> Self {
        Self { listened: true, ..self }
    }

    /// The same by a thread of another user.
    pub fn by(self, thread: &str, thread_id: u32, real_user: u32, user: u32) -> Self {
        Self { thread: thread.to_owned(), thread_id, real_user, user, ..self }
    }

    /// The same by a child that this thread has forked.
    pub fn by_child(self, pid: u32) -> Self {
        let process = self.thread.clone();
        Self { pid, thread_id: pid, parent: process::id(), process, ..self }
    }

    /// Kind of its event.
    pub fn kind(&self) -> &'static str {
        match (self.what, self.errno) {
            ("listen" | "close", _) => self.what,
            (_, None) => "bind",
            _ => "bind_failed",
        }
    }

    /// The fields of the contract.
    pub fn event(&self) -> Value {
        let mut event = json!({
            "schema": "ghostport.event/1",
            "event.name": format!("ghostport.{}", self.kind()),
            "network.transport": self.transport,
            "network.type": self.family,
            "network.local.port": self.port,
            "ghostport.netns_inode": self.netns,
            "process.pid": self.pid,
            "process.parent_pid": self.parent,
            "process.executable.name": self.process,
            "thread.id": self.thread_id,
            "thread.name": self.thread,
            "process.user.id": self.user,
            "process.real_user.id": self.real_user,
        });
        if self.what != "close" {
            event["process.command_args"] = self.args.clone().into();
        }
        if !matches!(self.what, "listen" | "close") {
            event["ghostport.result"] = self.what.into();
        }
        if let Some(errno) = self.errno {
            event["ghostport.errno"] = errno.into();
        }
        if let Some(address) = self.address {
            event["network.local.address"] = address.to_string().into();
        }
        event
    }
}

const COMPARED: &[&str] = &[
    "schema",
    "event.name",
    "network.transport",
    "network.type",
    "network.local.address",
    "network.local.port",
    "ghostport.netns_inode",
    "ghostport.result",
    "ghostport.errno",
    "process.pid",
    "process.parent_pid",
    "process.command_args",
    "process.executable.name",
    "thread.id",
    "thread.name",
    "process.user.id",
    "process.real_user.id",
];

/// What [`Call::event`] has of an event.
pub fn compared(event: &Value) -> Value {
    // Of a close it depends on whether the process was still there, or was seen before.
    let is_close = event["event.name"] == "ghostport.close";
    let keys = COMPARED.iter().filter(|key| !(is_close && **key == "process.command_args"));
    let fields = keys.filter_map(|key| Some(((*key).to_owned(), event.get(*key)?.clone())));
    Value::Object(fields.collect())
}

/// One event a line, those that only one side has marked.
pub fn difference(told: &[Value], expected: &[Value]) -> String {
    let lines = |events: &[Value], others: &[Value], mark: &str| -> String {
        let mark = |event: &Value| if others.contains(event) { "  " } else { mark }.to_owned();
        events.iter().map(|event| format!("  {}{event}\n", mark(event))).collect()
    };
    format!("told:\n{}expected:\n{}", lines(told, expected, "+ "), lines(expected, told, "- "))
}

/// A TCP socket that is bound, listens, and is closed.
pub fn listening_life(transport: &'static str, address: SocketAddr) -> [Call; 3] {
    [
        Call::here("success", transport, address),
        Call::here("listen", transport, address),
        Call::here("close", transport, address).after_listening(),
    ]
}

/// A socket that is bound and closed.
pub fn bound_life(transport: &'static str, address: SocketAddr) -> [Call; 2] {
    [Call::here("success", transport, address), Call::here("close", transport, address)]
}

/// A bind that must have failed.
pub fn refusal(
    what: &'static str,
    transport: &'static str,
    at: SocketAddr,
    errno: &'static str,
) -> Call {
    Call::here(what, transport, at).refused(errno)
}

/// Binds a UDP port that a dual-stack socket holds.
pub fn bind_udp_in_use(port: u16) -> [Call; 3] {
    let dual = at("::", port);
    let holder = udp(AddressFamily::INET6);
    bind(&holder, &dual).expect("bound");
    let address = at("0.0.0.0", port);
    assert_eq!(bind(udp(AddressFamily::INET), &address), Err(Errno::ADDRINUSE));
    drop(holder);
    let [bound, close] = bound_life("udp", dual);
    [bound, refusal("in_use", "udp", address, "EADDRINUSE"), close]
}

/// Binds a UDP socket that is bound already.
pub fn bind_udp_twice(one: SocketAddr, two: SocketAddr) -> [Call; 3] {
    let socket = udp(AddressFamily::INET);
    bind(&socket, &one).expect("bound");
    assert_eq!(bind(&socket, &two), Err(Errno::INVAL));
    drop(socket);
    let [bound, close] = bound_life("udp", one);
    [bound, refusal("error", "udp", two, "EINVAL"), close]
}

/// A listener that shares its port with others (`SO_REUSEPORT`).
pub fn sharing_listener(address: SocketAddr) -> OwnedFd {
    let socket = tcp(AddressFamily::INET);
    sockopt::set_socket_reuseport(&socket, true).expect("an option");
    bind(&socket, &address).expect("bound");
    listen(&socket, 1).expect("listening");
    socket
}

/// A new TCP socket.
pub fn tcp(family: AddressFamily) -> OwnedFd {
    own_socket(family, SocketType::STREAM, None).expect("a socket")
}

/// A new socket, which programs that this one executes do not inherit.
///
/// # Errors
/// The kernel refuses it.
pub fn own_socket(
    family: AddressFamily,
    kind: SocketType,
    protocol: Option<Protocol>,
) -> rustix::io::Result<OwnedFd> {
    socket_with(family, kind, SocketFlags::CLOEXEC, protocol)
}

/// A new UDP socket.
pub fn udp(family: AddressFamily) -> OwnedFd {
    own_socket(family, SocketType::DGRAM, None).expect("a socket")
}

/// Binds with an address that is laid out as one of IPv4, but has another family: the port lies in
/// its third and fourth byte. Returns whether that succeeded.
pub fn bind_as(socket: &OwnedFd, family: AddressFamily, port: u16) -> bool {
    let address = libc::sockaddr_in {
        sin_family: family.as_raw(),
        sin_port: port.to_be(),
        sin_addr: libc::in_addr { s_addr: 0 },
        sin_zero: [0; 8],
    };
    // SAFETY: the address lives through the call, and is as long as the call says.
    unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), ADDRESS_LEN) == 0 }
}

/// Binds with a null pointer in place of an address. Returns whether that succeeded.
pub fn bind_nowhere(socket: &OwnedFd) -> bool {
    // SAFETY: the kernel checks the pointer.
    unsafe { libc::bind(socket.as_raw_fd(), ptr::null(), ADDRESS_LEN) == 0 }
}

/// Bytes of an IPv4 socket address.
const ADDRESS_LEN: u32 = size_of::<libc::sockaddr_in>() as u32;

/// A port of 127.0.0.1.
pub fn v4(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// A port of an address.
pub fn at(address: &str, port: u16) -> SocketAddr {
    (address.parse::<IpAddr>().expect(address), port).into()
}

/// A watched port that takes a privilege.
pub fn privileged() -> u16 {
    400 + (process::id() % 600) as u16
}

/// Runs `work` on a thread of another user, and returns its id.
pub fn as_user(name: &str, real: u32, effective: u32, work: impl FnOnce() + Send) -> u32 {
    thread::scope(|scope| {
        let body = || {
            let [real, effective] = [real, effective].map(Uid::from_raw);
            set_thread_res_uid(real, effective, effective).expect("another user");
            work();
            gettid().as_raw_nonzero().get().cast_unsigned()
        };
        let thread = thread::Builder::new().name(name.into()).spawn_scoped(scope, body);
        thread.expect("spawned").join().expect("no panic")
    })
}
