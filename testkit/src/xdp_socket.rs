//! An AF_XDP socket, as far as it takes to be bound: no packet is read from it.

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    ptr,
};

use super::wire::index_of;

/// Options, `include/uapi/linux/if_xdp.h`.
const RX_RING: libc::c_int = 2;
const UMEM_REG: libc::c_int = 4;
const UMEM_FILL_RING: libc::c_int = 5;
const UMEM_COMPLETION_RING: libc::c_int = 6;

/// Size of its memory, of the pieces for a packet, and of its rings.
const MEMORY: usize = 64 * 1024;
const PIECE: u32 = 4096;
const ENTRIES: u32 = 16;

/// The socket, with the memory that it shares with the kernel.
pub struct XdpSocket {
    socket: OwnedFd,
    memory: *mut libc::c_void,
}

impl XdpSocket {
    /// Binds one to queue 0 of an interface. An error where the kernel has no such sockets.
    pub fn bind(interface: &str) -> io::Result<Self> {
        // SAFETY: the call has no pointers.
        let socket = unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        if socket < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just opened this descriptor for us.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping, which nothing else uses.
        let memory = unsafe { libc::mmap(ptr::null_mut(), MEMORY, protection, flags, -1, 0) };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let this = Self { socket, memory };
        // `struct xdp_umem_reg`: address, length, size of a piece and headroom, flags.
        let registration = [memory as u64, MEMORY as u64, u64::from(PIECE), 0];
        this.set(UMEM_REG, &registration)?;
        for ring in [UMEM_FILL_RING, UMEM_COMPLETION_RING, RX_RING] {
            this.set(ring, &ENTRIES)?;
        }
        this.bind_to(index_of(interface))?;
        Ok(this)
    }

    fn set<T>(&self, option: libc::c_int, value: &T) -> io::Result<()> {
        // SAFETY: the value lives through the call, and the length is its own.
        let result = unsafe {
            libc::setsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_XDP,
                option,
                ptr::from_ref(value).cast(),
                size_of::<T>() as u32,
            )
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    fn bind_to(&self, interface: u32) -> io::Result<()> {
        /// `struct sockaddr_xdp`.
        #[repr(C)]
        struct Address {
            family: u16,
            flags: u16,
            interface: u32,
            queue: u32,
            shared: u32,
        }
        let address =
            Address { family: libc::AF_XDP as u16, flags: 0, interface, queue: 0, shared: 0 };
        // SAFETY: the address lives through the call, and the length is its own.
        let result = unsafe {
            libc::bind(
                self.socket.as_raw_fd(),
                (&raw const address).cast(),
                size_of::<Address>() as u32,
            )
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

impl Drop for XdpSocket {
    fn drop(&mut self) {
        // SAFETY: the mapping is this socket's, which holds its pages by itself.
        unsafe { libc::munmap(self.memory, MEMORY) };
    }
}
