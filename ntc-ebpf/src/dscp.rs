//! Writing the code point (RFC 2474), ECN (RFC 3168) left as it is.

use aya_ebpf::{
    bindings::BPF_F_RECOMPUTE_CSUM,
    helpers::{bpf_l3_csum_replace, bpf_skb_store_bytes},
};
use ntc_common::{packet::Packet, source::PacketSource};

use crate::source::Skb;

const IPV4_CHECKSUM: u32 = 10;

/// Writes `dscp` into the packet's IP header; `false` where the buffer could not be written.
#[inline(always)]
pub fn write(skb: &Skb, packet: &Packet, dscp: u8) -> bool {
    let start = u32::from(packet.ip_offset);
    let Some(old) = skb.read::<[u8; 2]>(packet.ip_offset.into()) else { return false };
    let old = u16::from_be_bytes(old);
    let new = if packet.key.ip_version == 4 {
        // Version, header length, DSCP (6 bits), ECN (2).
        (old & 0xff03) | (u16::from(dscp) << 2)
    } else {
        // Version (4 bits), DSCP (6), ECN (2), flow label.
        (old & 0xf03f) | (u16::from(dscp) << 6)
    };
    let new_bytes = new.to_be_bytes();
    let flags = if packet.key.ip_version == 4 {
        // The header's own checksum, incrementally (RFC 1624). It makes up for the change, so that a checksum
        // that the device took over the whole packet stays right.
        let (from, to) = (u64::from(old.to_be()), u64::from(new.to_be()));
        // SAFETY: the running program's buffer; the helper checks the offset.
        if unsafe { bpf_l3_csum_replace(skb.raw(), start + IPV4_CHECKSUM, from, to, 2) } != 0 {
            return false;
        }
        0
    } else {
        // IPv6 has none: the device's sum over the packet has to follow the change.
        BPF_F_RECOMPUTE_CSUM
    };
    // SAFETY: the running program's buffer and two bytes on the stack; the helper checks the offset.
    unsafe { bpf_skb_store_bytes(skb.raw(), start, new_bytes.as_ptr().cast(), 2, flags.into()) == 0 }
}
