//! A service of the kernel's load balancer in this thread's network namespace, by socket options
//! (`do_ip_vs_set_ctl` in `net/netfilter/ipvs/ip_vs_ctl.c`), as ipvsadm's older interface has it.

use std::{
    io,
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    os::fd::AsRawFd as _,
};

/// `IP_VS_SO_SET_ADD` and `IP_VS_SO_SET_ADDDEST`, `include/uapi/linux/ip_vs.h`.
const ADD: libc::c_int = 0x482;
const ADD_DESTINATION: libc::c_int = 0x487;

/// `struct ip_vs_service_user`; address and port are in network byte order.
#[repr(C)]
#[derive(Clone, Copy)]
struct Service {
    protocol: u16,
    address: [u8; 4],
    port: [u8; 2],
    mark: u32,
    scheduler: [u8; 16],
    flags: u32,
    timeout: u32,
    netmask: u32,
}

/// `struct ip_vs_dest_user`. Connection flags of 0 are masquerading, `IP_VS_CONN_F_MASQ`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Destination {
    address: [u8; 4],
    port: [u8; 2],
    flags: u32,
    weight: u32,
    thresholds: [u32; 2],
}

/// What a destination is added by.
#[repr(C)]
struct WithDestination {
    service: Service,
    destination: Destination,
}

/// Lets IPVS answer for a service of a protocol (`libc::IPPROTO_TCP` or UDP) with a server.
///
/// # Errors
///
/// The kernel has no IPVS.
pub fn forward(protocol: i32, service: SocketAddrV4, server: SocketAddrV4) -> io::Result<()> {
    let mut scheduler = [0; 16];
    scheduler[..2].copy_from_slice(b"rr");
    let service = Service {
        protocol: protocol as u16,
        address: service.ip().octets(),
        port: service.port().to_be_bytes(),
        mark: 0,
        scheduler,
        flags: 0,
        timeout: 0,
        netmask: u32::MAX,
    };
    let destination = Destination {
        address: server.ip().octets(),
        port: server.port().to_be_bytes(),
        flags: 0,
        weight: 1,
        thresholds: [0; 2],
    };
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    set(&socket, ADD, &service)?;
    set(&socket, ADD_DESTINATION, &WithDestination { service, destination })
}

fn set<T>(socket: &UdpSocket, option: libc::c_int, value: &T) -> io::Result<()> {
    // SAFETY: the value lives through the call, and the length is its own.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            option,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as u32,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
