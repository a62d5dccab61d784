//! The attacker: users, and what they do with sockets.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    os::unix::net::UnixStream,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    net::{AddressFamily, SocketType, bind},
    process::{Pid, Signal, kill_process},
};
use serde_json::Value;

use crate::{
    agent::LISTEN,
    calls::{NOBODY, own_socket},
    patience,
    privileges::become_user,
};

/// Where the agent serves.
pub(super) fn server() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, LISTEN).into()
}

/// Status and body of an answer over the Unix socket of the agent.
pub(super) fn over_unix(path: &str) -> Option<(u16, String)> {
    let mut stream = UnixStream::connect("/run/ghostport/api.sock").ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: agent\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let status = text.split(' ').nth(1)?.parse().ok()?;
    Some((status, text.split_once("\r\n\r\n")?.1.to_owned()))
}

/// Binds a port so many times.
pub(super) fn bind_times(port: u16, times: u64) {
    for _ in 0..times {
        drop(UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).expect("bound"));
    }
}

/// One bind, with nothing but system calls.
pub(super) fn bind_once(address: Ipv4Addr, port: u16) -> bool {
    let address = SocketAddr::from((address, port));
    own_socket(AddressFamily::INET, SocketType::DGRAM, None)
        .is_ok_and(|socket| bind(&socket, &address).is_ok())
}

/// Waits for what may never come.
pub(super) fn within<T>(mut check: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + patience();
    loop {
        if let Some(found) = check() {
            return Some(found);
        }
        if Instant::now() > deadline {
            return None;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// How many events of a kind there are on a port.
pub(super) fn count(events: &[Value], kind: &str, port: u16) -> usize {
    let kind = format!("ghostport.{kind}");
    let is_it =
        |event: &&Value| event["event.name"] == *kind && event["network.local.port"] == port;
    events.iter().filter(is_it).count()
}

/// A process of the attacker that does the same again and again, with nothing but system calls. It ends
/// when this is dropped.
pub(super) struct Loop(Pid);

impl Loop {
    pub(super) fn start(work: impl Fn()) -> Self {
        // SAFETY: until it is killed, the child makes system calls and touches no lock of another
        // thread.
        match unsafe { libc::fork() } {
            -1 => panic!("fork: {}", std::io::Error::last_os_error()),
            0 => {
                let is_nobody = become_user(NOBODY).is_ok();
                // SAFETY: no memory is passed. It ends with the thread that made it.
                unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
                if !is_nobody {
                    // SAFETY: ends the child at once.
                    unsafe { libc::_exit(1) }
                }
                loop {
                    work();
                }
            }
            child => Self(Pid::from_raw(child).expect("a child")),
        }
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::KILL);
        let _ = rustix::process::waitpid(Some(self.0), rustix::process::WaitOptions::empty());
    }
}
