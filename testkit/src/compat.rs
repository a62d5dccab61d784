//! A bind as a 32-bit program makes it, which enters the kernel by another way.

/// Binds a UDP socket to a port of 127.0.0.1, from a child that has one thread. Returns 0 or an error
/// number. Where the kernel has no such call, the child is killed; `None` on other architectures.
#[cfg(target_arch = "x86_64")]
pub fn bind(port: u16) -> Option<i32> {
    const BIND: u64 = 361;
    let address = libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr { s_addr: libc::INADDR_LOOPBACK.to_be() },
        sin_zero: [0; 8],
    };
    // SAFETY: fresh memory that a 32-bit pointer reaches; the call preserves all but its result.
    unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0);
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT;
        let memory = libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0);
        if memory == libc::MAP_FAILED {
            return None;
        }
        memory.cast::<libc::sockaddr_in>().write(address);
        let result: u64;
        std::arch::asm!(
            "xchg rbx, {socket}",
            "int 0x80",
            "xchg rbx, {socket}",
            socket = inout(reg) u64::from(socket.cast_unsigned()) => _,
            inlateout("rax") BIND => result,
            in("rcx") memory,
            in("rdx") size_of::<libc::sockaddr_in>(),
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
        Some(-(result as i32))
    }
}

/// There is no such call.
#[cfg(not(target_arch = "x86_64"))]
pub fn bind(_port: u16) -> Option<i32> {
    None
}
