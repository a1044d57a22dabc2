//! One packet of a sequence, or several that one buffer stood for, as it crosses from the kernel.

use crate::{key::FlowKey, packet::tcp_flags};

shared_struct! {
    /// One packet of a flow's sequence, or the wire packets of one super-packet. Times are ns of packet time.
    ///
    /// It carries the whole key, so that each record can be read by itself: rings lose records, and a
    /// reader may start late.
    pub struct PacketRecord: 80 {
        /// The flow.
        pub key: FlowKey,
        /// The flow's first packet: with the key it names the flow.
        pub start_ns: u64,
        /// This packet.
        pub timestamp_ns: u64,
        /// TCP or UDP payload in bytes; of several wire packets, the last one's.
        pub payload_len: u32,
        /// Payload of each of several wire packets but the last; 0 for one.
        pub segment_len: u32,
        /// Interface on which the packet was seen; 0 in a capture file.
        pub ifindex: u32,
        /// TCP window, unscaled; 0 for UDP.
        pub window: u16,
        /// Outermost VLAN id, or 0xffff.
        pub vlan: u16,
        /// Wire packets that were one buffer; mostly 1.
        pub segments: u16,
        /// How many of these, from the first, have a place in the sequence.
        pub places: u16,
        /// Place of the first in the sequence, from 0.
        pub index: u8,
        /// [`record_flags`].
        pub flags: u8,
        /// TCP flags as they stand in the buffer; 0 for UDP.
        pub tcp_flags: u8,
        /// [`End`](crate::flow::End) as a number, if this closes the flow; else 0.
        pub end: u8,
    }
}

/// Bits of [`PacketRecord::flags`].
pub mod record_flags {
    /// The packet goes to the flow's source.
    pub const TO_SOURCE: u8 = 1;
    /// The key's upper end is the flow's source.
    pub const UPPER_IS_SOURCE: u8 = 2;
}

impl PacketRecord {
    /// 0: from the flow's source. 1: to it.
    #[inline(always)]
    pub const fn direction(&self) -> u8 {
        self.flags & record_flags::TO_SOURCE
    }

    /// Whether the key's upper end sent the flow's first packet.
    #[inline(always)]
    pub const fn upper_is_source(&self) -> bool {
        self.flags & record_flags::UPPER_IS_SOURCE != 0
    }

    /// The wire packets that have a place in the sequence, in its order. All have the record's time, direction and
    /// window: the gaps between them are 0.
    #[inline]
    pub fn wire_packets(&self) -> impl Iterator<Item = WirePacket> {
        let Self { payload_len, segment_len, segments, places, index, tcp_flags, .. } = *self;
        (0..places).map(move |place| {
            let (first, last) = (place == 0, place + 1 == segments);
            // As tcp_gso_segment() divides them.
            let others = if first { 0 } else { tcp_flags::CWR } | if last { 0 } else { LAST_ONLY };
            WirePacket {
                index: usize::from(index) + usize::from(place),
                payload_len: if last { payload_len } else { segment_len },
                tcp_flags: tcp_flags & !others,
            }
        })
    }
}

/// TCP flags of the last wire packet of several.
const LAST_ONLY: u8 = tcp_flags::FIN | tcp_flags::PSH;

/// What differs between the wire packets of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WirePacket {
    /// Place in the sequence, from 0.
    pub index: usize,
    /// TCP or UDP payload in bytes.
    pub payload_len: u32,
    /// TCP flags; 0 for UDP.
    pub tcp_flags: u8,
}
