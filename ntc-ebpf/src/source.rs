//! Packet bytes at XDP and at tc, as [`PacketSource`]s. The only place that touches packet memory.

use core::mem::MaybeUninit;

use aya_ebpf::{
    bindings::{__sk_buff, xdp_md},
    helpers::{bpf_skb_load_bytes, bpf_xdp_get_buff_len},
    programs::{TcContext, XdpContext},
};
use ntc_common::{
    offload::Offload,
    source::{PacketSource, Plain},
};

/// What the hook knows of a packet beside its bytes.
pub trait Metadata {
    /// Id of a VLAN tag that the device or the kernel took out of the bytes.
    fn stripped_vlan(&self) -> Option<u16>;
    /// How the packet stands for several on the wire (GSO, GRO), if it does.
    fn offload(&self) -> Option<Offload>;
}

/// The linear part of an XDP frame, by direct access.
pub struct XdpBytes {
    start: usize,
    end: usize,
    ctx: *mut xdp_md,
}

impl XdpBytes {
    #[inline(always)]
    pub fn new(ctx: &XdpContext) -> Self {
        Self::from_raw(ctx.ctx)
    }

    #[inline(always)]
    pub fn from_raw(ctx: *mut xdp_md) -> Self {
        let bytes = XdpContext::new(ctx);
        Self { start: bytes.data(), end: bytes.data_end(), ctx }
    }

    /// The kernel's own view of the frame.
    #[inline(always)]
    pub const fn raw(&self) -> *mut xdp_md {
        self.ctx
    }
}

impl PacketSource for XdpBytes {
    #[inline(always)]
    fn read<T: Plain>(&self, offset: usize) -> Option<T> {
        let at = self.start + offset;
        if at + size_of::<T>() > self.end {
            return None;
        }
        // SAFETY: the verifier proves that [at, at + size) lies before the frame's end, as the comparison
        // above says; T is valid for every bit pattern, and the read asks for no alignment.
        Some(unsafe { (at as *const T).read_unaligned() })
    }

    #[inline(always)]
    fn reaches(&self, end: usize) -> bool {
        // Fragments of a multi-buffer frame lie elsewhere: only then is the helper worth its call.
        end <= self.end - self.start || end <= self.wire_len()
    }

    #[inline(always)]
    fn wire_len(&self) -> usize {
        // SAFETY: ctx is the program's own context.
        unsafe { bpf_xdp_get_buff_len(self.ctx) as usize }
    }
}

impl Metadata for XdpBytes {
    #[inline(always)]
    fn stripped_vlan(&self) -> Option<u16> {
        None
    }

    #[inline(always)]
    fn offload(&self) -> Option<Offload> {
        // Native XDP is before GRO.
        None
    }
}

/// A socket buffer, by helper: it reads what lies in fragments, too, and costs the verifier little.
pub struct Skb {
    skb: *mut __sk_buff,
}

impl Skb {
    #[inline(always)]
    pub fn new(ctx: &TcContext) -> Self {
        Self::from_raw(ctx.skb.skb)
    }

    #[inline(always)]
    pub const fn from_raw(skb: *mut __sk_buff) -> Self {
        Self { skb }
    }

    /// The kernel's own view of the buffer.
    #[inline(always)]
    pub const fn raw(&self) -> *mut __sk_buff {
        self.skb
    }

    /// The interface whose hook this is.
    #[inline(always)]
    pub fn ifindex(&self) -> u32 {
        // SAFETY: the context of the running program is valid for reading.
        unsafe { (*self.skb).ifindex }
    }

    /// The interface on which the packet came in; 0 if it was made here.
    #[inline(always)]
    pub fn ingress_ifindex(&self) -> u32 {
        // SAFETY: as in `ifindex`.
        unsafe { (*self.skb).ingress_ifindex }
    }
}

/// A place on the stack. There, and only there, the verifier asks for words to be aligned: what lies in a header at a
/// multiple of its size does here, too.
#[repr(align(8))]
struct Aligned<T>(MaybeUninit<T>);

impl PacketSource for Skb {
    #[inline(always)]
    fn read<T: Plain>(&self, offset: usize) -> Option<T> {
        let mut value = Aligned(MaybeUninit::<T>::uninit());
        // SAFETY: the helper writes size_of::<T>() bytes to `value`, or fails.
        let failed = unsafe {
            bpf_skb_load_bytes(
                self.skb.cast(),
                offset as u32,
                value.0.as_mut_ptr().cast(),
                size_of::<T>() as u32,
            )
        };
        if failed != 0 {
            return None;
        }
        // SAFETY: the helper filled it, and T is valid for every bit pattern.
        Some(unsafe { value.0.assume_init() })
    }

    #[inline(always)]
    fn reaches(&self, end: usize) -> bool {
        end <= self.wire_len()
    }

    #[inline(always)]
    fn wire_len(&self) -> usize {
        // SAFETY: as in `ifindex`.
        unsafe { (*self.skb).len as usize }
    }
}

impl Metadata for Skb {
    #[inline(always)]
    fn stripped_vlan(&self) -> Option<u16> {
        // SAFETY: as in `ifindex`.
        let (present, tci) = unsafe { ((*self.skb).vlan_present, (*self.skb).vlan_tci) };
        if present == 0 { None } else { Some(tci as u16 & 0x0fff) }
    }

    #[inline(always)]
    fn offload(&self) -> Option<Offload> {
        // SAFETY: as in `ifindex`.
        unsafe {
            let segment_len = (*self.skb).gso_size;
            if segment_len == 0 {
                return None;
            }
            // At ingress `wire_len` is without the link header, and no longer than the buffer.
            let repeated_len = (*self.skb).wire_len.saturating_sub((*self.skb).len);
            Some(Offload { segments: (*self.skb).gso_segs, segment_len, repeated_len })
        }
    }
}
