//! One packet of a sequence, as it crosses from the kernel.

use crate::key::FlowKey;

shared_struct! {
    /// One packet of a flow's sequence. Times are ns of packet time.
    ///
    /// It carries the whole key, so that each record can be read by itself: rings lose records, and a
    /// reader may start late.
    pub struct PacketRecord: 72 {
        /// The flow.
        pub key: FlowKey,
        /// The flow's first packet: with the key it names the flow.
        pub start_ns: u64,
        /// This packet.
        pub timestamp_ns: u64,
        /// TCP or UDP payload in bytes.
        pub payload_len: u32,
        /// Interface on which the packet was seen; 0 in a capture file.
        pub ifindex: u32,
        /// TCP window, unscaled; 0 for UDP.
        pub window: u16,
        /// Outermost VLAN id, or 0xffff.
        pub vlan: u16,
        /// Place in the sequence, from 0.
        pub index: u8,
        /// [`record_flags`].
        pub flags: u8,
        /// TCP flags; 0 for UDP.
        pub tcp_flags: u8,
        /// [`End`](crate::flow::End) as a number, if this packet closes the flow; else 0.
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
}
