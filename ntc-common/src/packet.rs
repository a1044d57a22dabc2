//! What the parser tells of one packet.

use crate::key::FlowKey;

/// No VLAN tag: ids have 12 bits.
pub const NO_VLAN: u16 = 0xffff;

/// TCP flag bits (RFC 9293 section 3.1).
pub mod tcp_flags {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset the connection.
    pub const RST: u8 = 0x04;
    /// Hand the data to the application.
    pub const PSH: u8 = 0x08;
    /// The acknowledgement field counts.
    pub const ACK: u8 = 0x10;
    /// Congestion window reduced (RFC 3168).
    pub const CWR: u8 = 0x80;
}

/// The hop-by-hop header with the jumbo payload option (RFC 2675), in bytes.
pub const JUMBO_HEADER: u32 = 8;

/// The header fields of one TCP or UDP packet that ntc uses: no payload, no more.
///
/// Of a packet that stands for several on the wire it describes the last, once it was
/// [taken apart](crate::offload); those before it differ from it in length and TCP flags only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The flow, without direction.
    pub key: FlowKey,
    /// The sender is the key's upper end.
    pub from_upper: bool,
    /// TCP or UDP payload in bytes, from the IP length (Ethernet pads, captures cut).
    pub payload_len: u32,
    /// IP packet in bytes, header included.
    pub ip_len: u32,
    /// TCP window as it stands in the header, unscaled; 0 for UDP.
    pub window: u16,
    /// TCP flags; 0 for UDP.
    pub tcp_flags: u8,
    /// Differentiated services code point (RFC 2474).
    pub dscp: u8,
    /// Outermost VLAN id, or [`NO_VLAN`].
    pub vlan: u16,
    /// Bytes before the IP header.
    pub ip_offset: u16,
    /// Bytes before the TCP or UDP header.
    pub transport_offset: u16,
    /// The IP length field was 0 and the packet's own length was taken: an offloaded frame, or a jumbogram
    /// (RFC 2675).
    pub zero_ip_len: bool,
    /// An IPv6 hop-by-hop header names that length.
    pub jumbo: bool,
    /// Wire packets that it stands for: 1 unless it was taken apart.
    pub segments: u32,
    /// TCP or UDP payload in bytes of each of them but the last.
    pub segment_len: u32,
}

impl Packet {
    /// Nothing read yet.
    pub const ZERO: Self = Self {
        key: FlowKey::ZERO,
        from_upper: false,
        payload_len: 0,
        ip_len: 0,
        window: 0,
        tcp_flags: 0,
        dscp: 0,
        vlan: NO_VLAN,
        ip_offset: 0,
        transport_offset: 0,
        zero_ip_len: false,
        jumbo: false,
        segments: 1,
        segment_len: 0,
    };

    /// IP bytes of all its wire packets, headers included.
    #[inline(always)]
    pub const fn wire_bytes(&self) -> u64 {
        let header_len = self.ip_len - self.payload_len;
        self.ip_len as u64 + (self.segments - 1) as u64 * (header_len + self.segment_len) as u64
    }

    /// The same with the headers before IP, which each of them has.
    #[inline(always)]
    pub const fn wire_bytes_with_link(&self) -> u64 {
        self.wire_bytes() + self.segments as u64 * self.ip_offset as u64
    }

    /// A SYN without ACK: somebody opens a connection.
    #[inline(always)]
    pub const fn opens(&self) -> bool {
        self.tcp_flags & (tcp_flags::SYN | tcp_flags::ACK) == tcp_flags::SYN
    }
}
