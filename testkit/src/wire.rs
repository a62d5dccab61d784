//! Frames as they are, onto an interface of this thread's namespace.

use std::{
    fs::File,
    io,
    net::UdpSocket,
    os::fd::{AsFd, AsRawFd as _, OwnedFd},
    thread,
};

use rustix::net::{
    AddressFamily, SendFlags, SocketFlags, SocketType, netdevice::name_to_index, socket_with,
};

use super::calls::udp;

/// A packet socket on one interface, for sending only.
pub struct Wire {
    socket: OwnedFd,
    address: libc::sockaddr_ll,
}

impl Wire {
    /// Opens it.
    pub fn open(interface: &str) -> Self {
        Self { socket: packet_socket(), address: link_address(interface) }
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
        // SAFETY: both buffers live through the call, and the lengths are theirs.
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

/// A packet socket that leaves only the Ethernet header in the contiguous part of a packet that is
/// longer than a page, as `packet_alloc_skb` in `net/packet/af_packet.c` does for a guest's packet.
pub struct SplitWire {
    socket: OwnedFd,
}

impl SplitWire {
    /// Bytes of `struct virtio_net_hdr`; zeros say that nothing is to be segmented or summed.
    const GUEST_HEADER: [u8; 10] = [0; 10];

    /// Opens it.
    pub fn open(interface: &str) -> Self {
        const PACKET_VNET_HDR: i32 = 15;
        let socket = packet_socket();
        set_option(&socket, libc::SOL_PACKET, PACKET_VNET_HDR, 1).expect("PACKET_VNET_HDR");
        let address = link_address(interface);
        let size = size_of::<libc::sockaddr_ll>() as u32;
        // SAFETY: the address lives through the call, and is as long as the call says.
        let result = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size) };
        assert_eq!(result, 0, "bind: {}", io::Error::last_os_error());
        Self { socket }
    }

    /// Sends a frame.
    pub fn send(&self, frame: &[u8]) {
        let message = [&Self::GUEST_HEADER, frame].concat();
        let sent = rustix::net::send(&self.socket, &message, SendFlags::empty());
        assert_eq!(sent, Ok(message.len()));
    }
}

/// An instruction of a filter, `struct sock_filter`: code, jumps, operand.
pub type Instruction = (u16, u8, u8, u32);

/// UDP over IPv4 to a port, as libpcap compiles it for Ethernet.
pub fn udp_to(port: u16) -> Vec<Instruction> {
    vec![
        (0x28, 0, 0, 12),
        (0x15, 0, 8, 0x0800),
        (0x30, 0, 0, 23),
        (0x15, 0, 6, 17),
        (0x28, 0, 0, 20),
        (0x45, 4, 0, 0x1fff),
        (0xb1, 0, 0, 14),
        (0x48, 0, 0, 16),
        (0x15, 0, 1, port.into()),
        (0x06, 0, 0, 0x0004_0000),
        (0x06, 0, 0, 0),
    ]
}

/// A packet socket of every protocol with a filter; without instructions it has none.
pub fn capturing_socket(filter: &[Instruction]) -> OwnedFd {
    let everything = (libc::ETH_P_ALL as u16).to_be();
    // The filter is there before the first packet, as with libpcap.
    let socket = packet_socket();
    if !filter.is_empty() {
        attach(&socket, filter);
    }
    // SAFETY: all members are integers, for which zero is a value.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = everything;
    let size = size_of::<libc::sockaddr_ll>() as u32;
    // SAFETY: the address lives through the call, and is as long as the call says.
    let result = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size) };
    assert_eq!(result, 0, "bind: {}", io::Error::last_os_error());
    socket
}

fn attach(socket: &OwnedFd, filter: &[Instruction]) {
    let mut filter: Vec<libc::sock_filter> =
        filter.iter().map(|&(code, jt, jf, k)| libc::sock_filter { code, jt, jf, k }).collect();
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the program and its instructions live through the call, which only reads them.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            size_of::<libc::sock_fprog>() as u32,
        )
    };
    assert_eq!(result, 0, "SO_ATTACH_FILTER: {}", io::Error::last_os_error());
}

/// A packet socket that receives nothing: its protocol is 0.
fn packet_socket() -> OwnedFd {
    socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC, None)
        .expect("a packet socket")
}

fn link_address(interface: &str) -> libc::sockaddr_ll {
    // SAFETY: all members are integers, for which zero is a value.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_ifindex = index_of(interface) as i32;
    address
}

fn set_option(socket: &impl AsFd, level: i32, option: i32, value: i32) -> io::Result<()> {
    // SAFETY: the option is an integer that lives through the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of::<i32>() as u32,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Lets a socket take packets to addresses and ports that are not its own.
pub fn make_transparent(socket: &impl AsFd) {
    set_option(socket, libc::SOL_IP, libc::IP_TRANSPARENT, 1).expect("IP_TRANSPARENT");
}

/// Binds a socket to an interface of this thread's namespace.
pub fn bind_to_device(socket: &impl AsFd, interface: &str) {
    // SAFETY: the name lives through the call, and the length is its own.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_BINDTODEVICE,
            interface.as_ptr().cast(),
            interface.len() as u32,
        )
    };
    assert_eq!(result, 0, "SO_BINDTODEVICE {interface}: {}", io::Error::last_os_error());
}

/// Index of an interface of this thread's namespace.
pub fn index_of(interface: &str) -> u32 {
    let socket = udp(AddressFamily::INET);
    name_to_index(socket, interface).unwrap_or_else(|error| panic!("{interface}: {error}"))
}

/// Makes a UDP socket hand its writes to the stack as super-packets of segments of this size.
pub fn segment_writes(socket: &UdpSocket, size: u16) {
    const UDP_SEGMENT: i32 = 103;
    set_option(socket, libc::SOL_UDP, UDP_SEGMENT, i32::from(size)).expect("UDP_SEGMENT");
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
    let mut request = request_about(interface);
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    let socket = udp(AddressFamily::INET);
    const SIOCETHTOOL: libc::Ioctl = 0x8946;
    // SAFETY: the request and what it points to live through the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
    assert_eq!(result, 0, "{offload:?} of {interface}: {}", io::Error::last_os_error());
}

/// Opens a tun device of this name, which is made for it. Its packets have no header of their own.
pub fn open_tun(name: &str) -> io::Result<File> {
    const IFF_TUN: i16 = 0x0001;
    const IFF_NO_PI: i16 = 0x1000;
    const TUNSETIFF: libc::Ioctl = 0x4004_54ca;
    let file = File::options().read(true).write(true).open("/dev/net/tun")?;
    let mut request = request_about(name);
    request.ifr_ifru.ifru_flags = IFF_TUN | IFF_NO_PI;
    // SAFETY: the request lives through the call.
    match unsafe { libc::ioctl(file.as_raw_fd(), TUNSETIFF, &raw mut request) } {
        0 => Ok(file),
        _ => Err(io::Error::last_os_error()),
    }
}

fn request_about(interface: &str) -> libc::ifreq {
    // SAFETY: all members are integers and pointers, for which zero is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from as libc::c_char;
    }
    request
}
