//! Frames as they are, onto an interface of this thread's namespace.

use std::{
    io,
    mem::size_of,
    net::UdpSocket,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    thread,
};

use rustix::net::{AddressFamily, SocketType, netdevice::name_to_index, socket};

/// A packet socket on one interface, for sending only.
pub struct Wire {
    socket: OwnedFd,
    address: libc::sockaddr_ll,
}

impl Wire {
    /// Opens it.
    pub fn open(interface: &str) -> Self {
        // SAFETY: no memory is involved. Protocol 0 receives nothing.
        let socket =
            unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        assert!(socket >= 0, "packet socket: {}", io::Error::last_os_error());
        // SAFETY: the descriptor was just made, and is nobody else's.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
        // SAFETY: all members are integers, for which zero is a value.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_ifindex = index_of(interface) as i32;
        Self { socket, address }
    }

    /// Sends a frame, which leaves through the interface when this returns. Waits while the receiver
    /// has no room for more.
    pub fn send(&self, frame: &[u8]) {
        loop {
            match self.try_send(frame) {
                Ok(sent) => return assert_eq!(sent, frame.len()),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => thread::yield_now(),
                Err(error) => panic!("send: {error}"),
            }
        }
    }

    fn try_send(&self, frame: &[u8]) -> io::Result<usize> {
        // SAFETY: both buffers live through the call and are as long as it is told.
        let sent = unsafe {
            libc::sendto(
                self.socket.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                0,
                (&raw const self.address).cast(),
                size_of::<libc::sockaddr_ll>() as u32,
            )
        };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }
}

/// Index of an interface of this thread's namespace.
pub fn index_of(interface: &str) -> u32 {
    let socket = socket(AddressFamily::INET, SocketType::DGRAM, None).expect("a socket");
    name_to_index(socket, interface).unwrap_or_else(|error| panic!("{interface}: {error}"))
}

/// Makes a UDP socket hand its writes to the stack as super-packets of segments of this size.
pub fn segment_writes(socket: &UdpSocket, size: u16) {
    const UDP_SEGMENT: i32 = 103;
    let size = i32::from(size);
    // SAFETY: the option is an integer that lives through the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_UDP,
            UDP_SEGMENT,
            (&raw const size).cast(),
            size_of::<i32>() as u32,
        )
    };
    assert_eq!(result, 0, "UDP_SEGMENT: {}", io::Error::last_os_error());
}

/// What [`offload`] switches, `include/uapi/linux/ethtool.h`.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub enum Offload {
    /// Generic receive offload.
    Gro = 0x2c,
    /// TCP segmentation offload.
    Tso = 0x1f,
    /// Generic segmentation offload.
    Gso = 0x24,
}

/// Switches an offload of an interface of this thread's namespace.
pub fn offload(interface: &str, offload: Offload, on: bool) {
    #[repr(C)]
    struct Value {
        command: u32,
        data: u32,
    }
    let mut value = Value { command: offload as u32, data: u32::from(on) };
    // SAFETY: all members are integers and pointers, for which zero is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    let socket = socket(AddressFamily::INET, SocketType::DGRAM, None).expect("a socket");
    const SIOCETHTOOL: libc::Ioctl = 0x8946;
    // SAFETY: the request and what it points to live through the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
    assert_eq!(result, 0, "{offload:?} of {interface}: {}", io::Error::last_os_error());
}
