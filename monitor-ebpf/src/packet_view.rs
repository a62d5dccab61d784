//! The two places where packet memory is touched, each access after its bounds check. The addresses
//! of a plain packet are read in [`ends`](crate::ends).

use core::hint::cold_path;

use aya_ebpf::{
    bindings::{__sk_buff, xdp_md},
    helpers::generated::{bpf_skb_load_bytes, bpf_xdp_get_buff_len},
};
use monitor_common::{
    packet::{
        PacketBytes, Parsed, PlainVisitor, Words, is_not_ip, parse_ethernet, parse_ip, visit_plain,
    },
    sample::SAMPLE_LEN,
};

use crate::{
    bounds::masked,
    ends::{Ends, plain_ends},
};

/// Size of a packet as it was on the wire.
#[derive(Clone, Copy)]
pub(crate) struct WireSize {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

/// A packet that can be parsed and measured: one register, so that it can be passed on.
pub(crate) trait PacketView: Copy {
    /// Hands the segment in a packet of the most common shapes to `visitor`; `None` is inconclusive.
    fn visit_plain<V: PlainVisitor>(self, visitor: V) -> Option<V::Output>;

    /// The addresses of a packet of that shape, whose transport header is at `offset`.
    fn plain_ends(self, offset: u32) -> Option<Ends>;

    /// Whether it is evident without a parse that the packet is not IP.
    fn is_not_ip(self) -> bool;

    /// The contents of a packet of any shape.
    fn parse(self) -> Parsed;

    /// Interface that the packet crosses.
    fn interface(self) -> u32;

    /// Packets and frame bytes on the wire; `headers_len` is what each segment of a super-packet
    /// repeats.
    fn wire_size(self, headers_len: u32) -> WireSize;

    /// Bytes of the packet as the program sees it.
    fn len(self) -> u32;

    /// The `N` words at `offset`, in any buffer.
    fn copied<const N: usize>(self, offset: u32) -> Option<Words<N>>;

    /// Copies up to `wanted` bytes at `offset`, at most [`SAMPLE_LEN`]. Returns how many it copied.
    fn copy_to(self, offset: u32, wanted: u32, room: *mut [u8; SAMPLE_LEN]) -> u32;
}

/// No offset is larger: the verifier needs an upper bound.
const MAX_OFFSET: u32 = 0x3fff;

/// An XDP buffer; headers are always in its first, contiguous part. Only a `frags` program sees
/// buffers with several parts.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct XdpView<const FRAGMENTS: bool>(pub(crate) *mut xdp_md);

impl<const FRAGMENTS: bool> From<*mut xdp_md> for XdpView<FRAGMENTS> {
    #[inline(always)]
    fn from(context: *mut xdp_md) -> Self {
        Self(context)
    }
}

impl<const FRAGMENTS: bool> XdpView<FRAGMENTS> {
    #[inline(always)]
    fn context(&self) -> &xdp_md {
        // SAFETY: the context is the one the kernel passed in.
        unsafe { &*self.0 }
    }
}

impl<const FRAGMENTS: bool> XdpView<FRAGMENTS> {
    /// The word at `offset`, or the last byte of the packet, if its end is odd.
    #[inline(always)]
    fn word_or_last_byte(&self, offset: u32) -> u16 {
        let (data, data_end) = (self.context().data, self.context().data_end);
        if let Some([word]) = direct(data, data_end, within(offset)) {
            return *word;
        }
        // Read with the byte before it: a header always precedes the payload.
        match direct(data, data_end, within(offset - 1)) {
            Some([word]) => u16::from_ne_bytes([word.to_ne_bytes()[1], 0]),
            None => 0,
        }
    }
}

impl<const FRAGMENTS: bool> PacketBytes for XdpView<FRAGMENTS> {
    #[inline(always)]
    fn words<'a, const N: usize>(
        &'a self,
        offset: usize,
        _scratch: &'a mut Words<N>,
    ) -> Option<&'a Words<N>> {
        direct(self.context().data, self.context().data_end, offset)
    }
}

impl<const FRAGMENTS: bool> PacketView for XdpView<FRAGMENTS> {
    #[inline(always)]
    fn visit_plain<V: PlainVisitor>(self, visitor: V) -> Option<V::Output> {
        visit_plain(&self, visitor)
    }

    #[inline(always)]
    fn plain_ends(self, offset: u32) -> Option<Ends> {
        plain_ends(self.context().data, self.context().data_end, offset)
    }

    #[inline(always)]
    fn is_not_ip(self) -> bool {
        is_not_ip(&self)
    }

    #[inline(always)]
    fn parse(self) -> Parsed {
        parse_ethernet(&self)
    }

    #[inline(always)]
    fn interface(self) -> u32 {
        self.context().ingress_ifindex
    }

    #[inline(always)]
    fn wire_size(self, _headers_len: u32) -> WireSize {
        let bytes = if FRAGMENTS {
            // SAFETY: the context is the one the kernel passed in.
            unsafe { bpf_xdp_get_buff_len(self.0) }
        } else {
            u64::from(self.context().data_end) - u64::from(self.context().data)
        };
        WireSize { packets: 1, bytes }
    }

    #[inline(always)]
    fn len(self) -> u32 {
        self.context().data_end - self.context().data
    }

    #[inline(always)]
    fn copied<const N: usize>(self, offset: u32) -> Option<Words<N>> {
        let context = self.context();
        direct(context.data, context.data_end, bounded(offset)).copied()
    }

    /// Word by word: the helper that copies from an XDP buffer exists since Linux 5.18. Payloads start
    /// at even offsets, as headers do. Of a packet in several buffers the first one is copied.
    ///
    /// The rest that fills no block goes first, then block after block in a loop without an early
    /// exit: the verifier walks the code after a loop once for every exit, and treats every compared
    /// length as a state of its own.
    #[inline(always)]
    fn copy_to(self, offset: u32, wanted: u32, room: *mut [u8; SAMPLE_LEN]) -> u32 {
        const BLOCK: u32 = 16;
        const _: () = assert!((SAMPLE_LEN as u32).is_multiple_of(BLOCK));
        let available = self.len().saturating_sub(offset);
        let len = least(wanted, least(available, SAMPLE_LEN as u32));
        let (rest, blocks) = (len % BLOCK, len / BLOCK * BLOCK);
        let room = room.cast::<u16>();
        for at in (0..BLOCK).step_by(2) {
            if at < rest {
                let word = self.word_or_last_byte(offset + blocks + at);
                // SAFETY: `room` holds two bytes at this even offset, and is aligned.
                unsafe { room.byte_add(within_a_sample(blocks + at)).write_volatile(word) };
            }
        }
        for block in (0..SAMPLE_LEN as u32).step_by(BLOCK as usize) {
            if block + BLOCK <= len {
                let (data, data_end) = (self.context().data, self.context().data_end);
                if let Some(words) = direct(data, data_end, within(offset + block)) {
                    // SAFETY: `room` holds the block.
                    unsafe { room.byte_add(block as usize).cast::<Words<8>>().write(*words) };
                }
            }
        }
        len
    }
}

/// A socket buffer whose plain headers are read in place, in its contiguous part. It starts with an
/// Ethernet or with an IP header.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct SkbView<const ETHERNET: bool>(pub(crate) *mut __sk_buff);

/// The same with headers copied, because they may extend beyond the contiguous part.
struct ScatteredSkb(*mut __sk_buff);

impl<const ETHERNET: bool> From<*mut __sk_buff> for SkbView<ETHERNET> {
    #[inline(always)]
    fn from(context: *mut __sk_buff) -> Self {
        Self(context)
    }
}

impl<const ETHERNET: bool> SkbView<ETHERNET> {
    #[inline(always)]
    fn context(&self) -> &__sk_buff {
        // SAFETY: the context is the one the kernel passed in.
        unsafe { &*self.0 }
    }
}

impl<const ETHERNET: bool> PacketBytes for SkbView<ETHERNET> {
    #[inline(always)]
    fn words<'a, const N: usize>(
        &'a self,
        offset: usize,
        _scratch: &'a mut Words<N>,
    ) -> Option<&'a Words<N>> {
        direct(self.context().data, self.context().data_end, offset)
    }
}

impl PacketBytes for ScatteredSkb {
    #[inline(always)]
    fn words<'a, const N: usize>(
        &'a self,
        offset: usize,
        scratch: &'a mut Words<N>,
    ) -> Option<&'a Words<N>> {
        // SAFETY: the destination has the length that the helper gets; the helper checks the source.
        let error = unsafe {
            bpf_skb_load_bytes(
                self.0.cast(),
                offset as u32,
                scratch.as_mut_ptr().cast(),
                size_of::<Words<N>>() as u32,
            )
        };
        (error == 0).then_some(scratch)
    }
}

impl<const ETHERNET: bool> PacketView for SkbView<ETHERNET> {
    #[inline(always)]
    fn visit_plain<V: PlainVisitor>(self, visitor: V) -> Option<V::Output> {
        if ETHERNET { visit_plain(&self, visitor) } else { None }
    }

    #[inline(always)]
    fn plain_ends(self, offset: u32) -> Option<Ends> {
        plain_ends(self.context().data, self.context().data_end, offset)
    }

    #[inline(always)]
    fn is_not_ip(self) -> bool {
        ETHERNET && is_not_ip(&self)
    }

    /// By copying the headers: plain packets were read in place. A read in place before it would make
    /// the verifier walk this one once for every outcome.
    #[inline(always)]
    fn parse(self) -> Parsed {
        let bytes = ScatteredSkb(self.0);
        if ETHERNET {
            parse_ethernet(&bytes)
        } else {
            // The stack stores the protocol of a packet without a link layer beside it.
            parse_ip(&bytes, u16::from_be(self.context().protocol as u16))
        }
    }

    #[inline(always)]
    fn interface(self) -> u32 {
        self.context().ifindex
    }

    #[inline(always)]
    fn wire_size(self, headers_len: u32) -> WireSize {
        const VLAN_TAG_LEN: u64 = 4;
        let skb = self.context();
        // A tag that the NIC removed or will insert is not in the buffer.
        let tag = if skb.vlan_present != 0 { VLAN_TAG_LEN } else { 0 };
        let len = u64::from(skb.len);
        if skb.gso_size == 0 {
            return WireSize { packets: 1, bytes: len + tag };
        }
        cold_path();
        let segments = segments(len, headers_len, skb.gso_segs, skb.gso_size);
        WireSize {
            packets: segments,
            bytes: len + segments * tag + (segments - 1) * u64::from(headers_len),
        }
    }

    #[inline(always)]
    fn len(self) -> u32 {
        self.context().len
    }

    #[inline(always)]
    fn copied<const N: usize>(self, offset: u32) -> Option<Words<N>> {
        let context = self.context();
        if let Some(words) = direct(context.data, context.data_end, bounded(offset)) {
            return Some(*words);
        }
        let mut scratch = [0; N];
        ScatteredSkb(self.0).words(offset as usize, &mut scratch)?;
        Some(scratch)
    }

    #[inline(always)]
    fn copy_to(self, offset: u32, wanted: u32, room: *mut [u8; SAMPLE_LEN]) -> u32 {
        let available = self.context().len.saturating_sub(offset);
        let wanted = least(wanted, available);
        if wanted == 0 {
            return 0;
        }
        let len = at_most_a_sample(wanted);
        // SAFETY: `room` holds the longest length that the helper gets; the helper checks the source.
        let error = unsafe { bpf_skb_load_bytes(self.0.cast(), offset, room.cast(), len) };
        if error == 0 { len } else { 0 }
    }
}

/// The lesser of two numbers.
#[inline(always)]
pub(crate) const fn least(one: u32, other: u32) -> u32 {
    if one < other { one } else { other }
}

/// A number from 1 to [`SAMPLE_LEN`], with bounds that the verifier sees.
#[inline(always)]
fn at_most_a_sample(wanted: u32) -> u32 {
    const LAST: u32 = SAMPLE_LEN as u32 - 1;
    const _: () = assert!(SAMPLE_LEN.is_power_of_two());
    let last = if wanted > LAST { LAST } else { wanted - 1 };
    masked::<LAST>(last.into()) as u32 + 1
}

/// An even offset within a sample, with bounds that the verifier sees.
#[inline(always)]
fn within_a_sample(offset: u32) -> usize {
    const LAST: u32 = SAMPLE_LEN as u32 - 2;
    masked::<LAST>(offset.into()) as usize
}

/// An offset that is opaque to the compiler, which would otherwise advance a pointer and check
/// another pointer than it reads from.
#[inline(always)]
fn within(offset: u32) -> usize {
    masked::<MAX_OFFSET>(offset.into()) as usize
}

/// An offset whose upper bound the verifier knows.
#[inline(always)]
fn bounded(offset: u32) -> usize {
    (offset & MAX_OFFSET) as usize
}

/// Number of packets that a super-packet is on the wire; its segment size is not 0.
///
/// An untrusted source (a tap device, virtio) may give a segment size without a count; the kernel
/// derives it the same way, `qdisc_pkt_len_init` in `net/core/dev.c`.
#[inline(always)]
fn segments(len: u64, headers_len: u32, gso_segs: u32, gso_size: u32) -> u64 {
    if gso_segs > 0 {
        return u64::from(gso_segs);
    }
    let payload = len.saturating_sub(u64::from(headers_len));
    payload.div_ceil(u64::from(gso_size)).max(1)
}

/// `N` words at `offset` of the memory between `data` and `data_end`, which are pointers to the
/// verifier.
#[inline(always)]
fn direct<'a, const N: usize>(data: u32, data_end: u32, offset: usize) -> Option<&'a Words<N>> {
    let start = data as usize + offset;
    if start + size_of::<Words<N>>() > data_end as usize {
        return None;
    }
    // SAFETY: no packet is at null. Without this hint the compiler checks every access for null, the
    // representation of `None`.
    unsafe { core::hint::assert_unchecked(start != 0) };
    // SAFETY: all N words lie before the end of the packet, which the verifier checks again; it
    // also rejects an unaligned access where the machine cannot do it.
    Some(unsafe { &*(start as *const Words<N>) })
}
