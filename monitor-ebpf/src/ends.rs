//! The addresses of a plain packet.

use core::arch::asm;

use monitor_common::{addresses::AddressKey, sampling::AddressWords};

/// The addresses of a packet.
pub(crate) struct Ends {
    pub(crate) source: AddressWords,
    pub(crate) destination: AddressWords,
    /// Version of IP.
    pub(crate) family: u8,
}

impl Ends {
    /// One of the addresses, for a lookup among those of this host.
    #[inline(always)]
    pub(crate) const fn key(&self, address: AddressWords) -> AddressKey {
        if self.family == 4 {
            AddressKey::of_ipv4(address[0])
        } else {
            AddressKey::of_ipv6(address)
        }
    }
}

/// The addresses of a plain packet between `data` and `data_end`: see
/// [`PacketView::plain_ends`](crate::packet_view::PacketView::plain_ends).
#[inline(always)]
pub(crate) fn plain_ends(data: u32, data_end: u32, offset: u32) -> Option<Ends> {
    /// Bytes of an Ethernet header and of an IP header without options or extensions.
    const IPV4: u32 = 14 + 20;
    const IPV6: usize = 14 + 40;
    let start = data as usize;
    if offset == IPV4 {
        if start + IPV4 as usize > data_end as usize {
            return None;
        }
        // SAFETY: the header lies before the end of the packet, which the verifier checks again.
        let (source, destination) = unsafe { (word::<26>(start), word::<30>(start)) };
        return Some(Ends { source: [source, 0], destination: [destination, 0], family: 4 });
    }
    if start + IPV6 > data_end as usize {
        return None;
    }
    // SAFETY: as above.
    let (source, destination) = unsafe {
        (
            [double_word::<22>(start), double_word::<30>(start)],
            [double_word::<38>(start), double_word::<46>(start)],
        )
    };
    Some(Ends { source, destination, family: 6 })
}

/// Four bytes of a packet in the order of memory, by one load.
///
/// Addresses are at multiples of four from where the IP header is aligned, which is what the verifier
/// asks for; of a pointer to a packet the compiler does not know, and would read byte by byte.
///
/// # Safety
///
/// The bytes are within the packet.
#[inline(always)]
unsafe fn word<const OFFSET: u32>(start: usize) -> u64 {
    let word: u64;
    // SAFETY: as the caller says.
    unsafe {
        asm!(
            "{word} = *(u32 *)({start} + {offset})",
            word = out(reg) word,
            start = in(reg) start,
            offset = const OFFSET,
            options(pure, readonly, nostack)
        );
    }
    word
}

/// Eight bytes, as [`word`].
///
/// # Safety
///
/// The bytes are within the packet.
#[inline(always)]
unsafe fn double_word<const OFFSET: u32>(start: usize) -> u64 {
    let word: u64;
    // SAFETY: as the caller says.
    unsafe {
        asm!(
            "{word} = *(u64 *)({start} + {offset})",
            word = out(reg) word,
            start = in(reg) start,
            offset = const OFFSET,
            options(pure, readonly, nostack)
        );
    }
    word
}
