//! Packets that stand for several on the wire (GSO, GRO, LRO), taken apart as the kernel or the device will.

use crate::{
    key::IPPROTO_UDP,
    packet::{JUMBO_HEADER, Packet},
};

/// What a socket buffer tells of the wire packets that it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offload {
    /// Wire packets (`gso_segs`); 0 where nobody counted them, as in what a virtual machine sends.
    pub segments: u32,
    /// Bytes behind the innermost header in each wire packet but the last (`gso_size`); 0 for one that stands for
    /// itself.
    pub segment_len: u32,
    /// Bytes by which the wire packets together exceed the buffer: all headers but the first packet's. 0 where
    /// the hook does not tell: only egress does (`qdisc_pkt_len_init`).
    pub repeated_len: u32,
}

/// What came of taking a packet apart.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// One packet on the wire after all.
    One,
    /// Several.
    Several,
    /// Several, nobody knows how many or how long: to be accounted as one.
    Unknown,
}

/// `gso_segs` has 16 bits, and so has a record's count.
const MAX_SEGMENTS: u32 = u16::MAX as u32;

impl Offload {
    /// Wire packets of one that belongs to no flow, by the count alone.
    #[inline(always)]
    pub const fn uncounted(&self) -> Split {
        match self.segments {
            0 => Split::Unknown,
            1 => Split::One,
            _ => Split::Several,
        }
    }

    /// Takes a parsed packet apart: from here on it describes its last wire packet, and `segments` and
    /// `segment_len` those before it.
    #[inline(always)]
    pub const fn split(&self, packet: &mut Packet) -> Split {
        if self.segment_len == 0 {
            return Split::One;
        }
        let header_len = packet.ip_len - packet.payload_len;
        let Some(tunnel_len) = self.tunnel_len(packet, packet.ip_offset as u32 + header_len) else {
            return Split::Unknown;
        };
        let payload_len = packet.payload_len - tunnel_len;
        // Headers alone are a packet, too.
        let segments = if payload_len == 0 { 1 } else { payload_len.div_ceil(self.segment_len) };
        if segments > MAX_SEGMENTS || (self.segments != 0 && segments != self.segments) {
            return Split::Unknown;
        }
        if segments <= 1 {
            return Split::One;
        }
        let last_len = packet.payload_len - (segments - 1) * self.segment_len;
        // The extension header for the length of an IPv6 packet beyond 64 KiB is not sent.
        let sent_len = if packet.jumbo { header_len - JUMBO_HEADER } else { header_len };
        packet.segments = segments;
        packet.segment_len = tunnel_len + self.segment_len;
        packet.payload_len = last_len;
        packet.ip_len = sent_len + last_len;
        Split::Several
    }

    /// Headers of a tunnel (VXLAN, Geneve) in a UDP packet's payload: they are repeated as well. 0 for packets that
    /// are what they seem; `None` where the lengths contradict each other. `header_len`: link, IP and transport.
    #[inline(always)]
    const fn tunnel_len(&self, packet: &Packet, header_len: u32) -> Option<u32> {
        // TCP carries no offloaded packet.
        if packet.key.protocol != IPPROTO_UDP || self.repeated_len == 0 || self.segments <= 1 {
            return Some(0);
        }
        let repeated = self.segments - 1;
        let each = self.repeated_len / repeated;
        if self.repeated_len != each * repeated || each < header_len {
            return None;
        }
        let tunnel_len = each - header_len;
        if tunnel_len > packet.payload_len { None } else { Some(tunnel_len) }
    }
}
