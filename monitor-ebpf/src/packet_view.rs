//! The two places where packet memory is touched, each access after its bounds check.

use aya_ebpf::{
    helpers::generated::{bpf_skb_load_bytes, bpf_xdp_get_buff_len},
    programs::{TcContext, XdpContext},
};
use monitor_common::packet::{PacketBytes, Parsed, Unclassified};

/// Size of a packet as it was on the wire.
#[derive(Clone, Copy)]
pub(crate) struct WireSize {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

/// A packet that can be parsed and measured.
pub(crate) trait PacketView {
    /// Interface that the packet crosses.
    fn interface(&self) -> u32;

    /// Packets and frame bytes on the wire; `headers_len` is what each segment of a super-packet
    /// repeats.
    fn wire_size(&self, headers_len: u32) -> WireSize;
}

/// An XDP buffer; headers are always in its first, contiguous part.
pub(crate) struct XdpView<'a> {
    pub(crate) context: &'a XdpContext,
    /// Whether the buffer may have fragments, which only a `frags` program is given.
    pub(crate) fragments: bool,
}

impl PacketBytes for XdpView<'_> {
    #[inline(always)]
    fn chunk<'a, const N: usize>(
        &'a self,
        offset: usize,
        _scratch: &'a mut [u8; N],
    ) -> Option<&'a [u8; N]> {
        direct(self.context.data(), self.context.data_end(), offset)
    }
}

impl PacketView for XdpView<'_> {
    #[inline(always)]
    fn interface(&self) -> u32 {
        self.context.ingress_ifindex() as u32
    }

    #[inline(always)]
    fn wire_size(&self, _headers_len: u32) -> WireSize {
        let bytes = if self.fragments {
            // SAFETY: the context is the one the kernel passed in.
            unsafe { bpf_xdp_get_buff_len(self.context.ctx) }
        } else {
            (self.context.data_end() - self.context.data()) as u64
        };
        WireSize { packets: 1, bytes }
    }
}

/// A socket buffer whose headers are read where they are: in its contiguous part.
pub(crate) struct SkbView<'a> {
    pub(crate) context: &'a TcContext,
}

/// A socket buffer whose headers are copied, because they are not all in its contiguous part.
pub(crate) struct ScatteredSkbView<'a> {
    pub(crate) context: &'a TcContext,
}

/// Parses a socket buffer in place, and once more by copying in the rare case that its headers go
/// beyond its contiguous part. Two passes, because a choice at every access multiplies the paths
/// that the verifier walks.
#[inline(always)]
pub(crate) fn parse_skb(
    context: &TcContext,
    in_place: impl FnOnce(&SkbView<'_>) -> Parsed,
    copied: impl FnOnce(&ScatteredSkbView<'_>) -> Parsed,
) -> Parsed {
    let parsed = in_place(&SkbView { context });
    let contiguous = context.data_end() - context.data();
    if parsed.unclassified() == Some(Unclassified::Truncated) && contiguous < context.len() as usize
    {
        return copied(&ScatteredSkbView { context });
    }
    parsed
}

impl PacketBytes for SkbView<'_> {
    #[inline(always)]
    fn chunk<'a, const N: usize>(
        &'a self,
        offset: usize,
        _scratch: &'a mut [u8; N],
    ) -> Option<&'a [u8; N]> {
        direct(self.context.data(), self.context.data_end(), offset)
    }
}

impl PacketBytes for ScatteredSkbView<'_> {
    #[inline(always)]
    fn chunk<'a, const N: usize>(
        &'a self,
        offset: usize,
        scratch: &'a mut [u8; N],
    ) -> Option<&'a [u8; N]> {
        // SAFETY: the destination is N bytes long; the helper checks the source.
        let error = unsafe {
            bpf_skb_load_bytes(
                self.context.skb.skb.cast(),
                offset as u32,
                scratch.as_mut_ptr().cast(),
                N as u32,
            )
        };
        (error == 0).then_some(scratch)
    }
}

impl PacketView for SkbView<'_> {
    #[inline(always)]
    fn interface(&self) -> u32 {
        // SAFETY: the context is the one the kernel passed in.
        unsafe { (*self.context.skb.skb).ifindex }
    }

    #[inline(always)]
    fn wire_size(&self, headers_len: u32) -> WireSize {
        const VLAN_TAG_LEN: u64 = 4;
        // SAFETY: the context is the one the kernel passed in.
        let skb = unsafe { &*self.context.skb.skb };
        // A tag that the NIC took or will insert is not in the buffer.
        let tag = if skb.vlan_present != 0 { VLAN_TAG_LEN } else { 0 };
        let len = u64::from(skb.len);
        let segments = segments(len, headers_len, skb.gso_segs, skb.gso_size);
        WireSize {
            packets: segments,
            bytes: len + segments * tag + (segments - 1) * u64::from(headers_len),
        }
    }
}

/// Packets that a socket buffer is on the wire.
///
/// An untrusted source (a tap device, virtio) may give a segment size without a count; the kernel
/// derives it the same way, `qdisc_pkt_len_init` in `net/core/dev.c`.
#[inline(always)]
fn segments(len: u64, headers_len: u32, gso_segs: u32, gso_size: u32) -> u64 {
    if gso_segs > 0 {
        return u64::from(gso_segs);
    }
    if gso_size == 0 {
        return 1;
    }
    let payload = len.saturating_sub(u64::from(headers_len));
    payload.div_ceil(u64::from(gso_size)).max(1)
}

/// `N` bytes at `offset` of the memory between `data` and `data_end`.
#[inline(always)]
fn direct<'a, const N: usize>(data: usize, data_end: usize, offset: usize) -> Option<&'a [u8; N]> {
    let start = data + offset;
    if start + N > data_end {
        return None;
    }
    // SAFETY: all N bytes lie before the end of the packet, which the verifier checks again.
    Some(unsafe { &*(start as *const [u8; N]) })
}
