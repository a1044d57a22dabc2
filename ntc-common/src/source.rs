//! Reading packet bytes, the same on every hook and on the host.

/// Types that can be read from packet bytes: any bit pattern is a value.
///
/// # Safety
/// The type must be valid for every bit pattern and have no padding.
pub unsafe trait Plain: Copy {}

// SAFETY: bytes have no invalid pattern and no padding.
unsafe impl Plain for u8 {}
// SAFETY: an array has no padding between elements that have none.
unsafe impl<T: Plain, const N: usize> Plain for [T; N] {}

/// A packet whose bytes can be read by offset.
///
/// It hands out values, never slices: the verifier follows `packet pointer + constant` compared with the
/// packet's end and loses sight of a (pointer, length) pair. For the same reason every implementation of
/// [`read`](Self::read) must be `#[inline(always)]`: an `Option` wider than a register cannot come back
/// from a BPF subprogram. That is a condition for loading, not a hint.
pub trait PacketSource {
    /// The `T` at `offset`, or `None` where the packet, or what was captured of it, ends before.
    fn read<T: Plain>(&self, offset: usize) -> Option<T>;

    /// Whether the packet reaches `end` on the wire, also where fewer bytes can be read.
    fn reaches(&self, end: usize) -> bool;

    /// Length on the wire in bytes, link header included.
    fn wire_len(&self) -> usize;
}

/// A captured packet: its bytes, which a snap length may have cut, and its length on the wire.
#[derive(Clone, Copy, Debug)]
pub struct Captured<'a> {
    bytes: &'a [u8],
    wire_len: usize,
}

impl<'a> Captured<'a> {
    /// `wire_len` is raised to the bytes at hand: a packet is never shorter than what was captured of it.
    #[inline]
    pub fn new(bytes: &'a [u8], wire_len: usize) -> Self {
        Self { bytes, wire_len: if wire_len < bytes.len() { bytes.len() } else { wire_len } }
    }
}

impl PacketSource for Captured<'_> {
    #[inline(always)]
    fn read<T: Plain>(&self, offset: usize) -> Option<T> {
        let end = offset.checked_add(size_of::<T>())?;
        let bytes = self.bytes.get(offset..end)?;
        // SAFETY: `bytes` is size_of::<T>() readable bytes, T is valid for every pattern (Plain), and the
        // read does not ask for alignment.
        Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
    }

    #[inline(always)]
    fn reaches(&self, end: usize) -> bool {
        end <= self.wire_len
    }

    #[inline(always)]
    fn wire_len(&self) -> usize {
        self.wire_len
    }
}
