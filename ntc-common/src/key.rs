//! The canonical 5-tuple.

use crate::source::Plain;

/// TCP's protocol number.
pub const IPPROTO_TCP: u8 = 6;
/// UDP's protocol number.
pub const IPPROTO_UDP: u8 = 17;

/// An IP address as two words whose bytes in memory are in network order; IPv4 as IPv4-mapped IPv6
/// (RFC 4291 section 2.5.5.2).
///
/// Words, not bytes: the BPF compiler would hold each of sixteen bytes in a register of its own, of which it
/// has ten.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address([u64; 2]);

// SAFETY: two integers, no padding.
unsafe impl Plain for Address {}

impl Address {
    /// Of an IPv4 address in network byte order.
    #[inline(always)]
    pub const fn mapped(v4: [u8; 4]) -> Self {
        Self([0, u64::from_ne_bytes([0, 0, 0xff, 0xff, v4[0], v4[1], v4[2], v4[3]])])
    }

    /// Of sixteen bytes in network order.
    pub const fn from_bytes(b: [u8; 16]) -> Self {
        Self([
            u64::from_ne_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]),
            u64::from_ne_bytes([b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]]),
        ])
    }

    /// Order by the address as a number.
    #[inline(always)]
    fn rank(self) -> (u64, u64) {
        (u64::from_be(self.0[0]), u64::from_be(self.0[1]))
    }

    #[inline(always)]
    const fn bytes(self) -> [u8; 16] {
        // SAFETY: two words are sixteen bytes, and any bytes are bytes.
        unsafe { core::mem::transmute(self.0) }
    }
}

/// Address and port of one end, in network byte order.
pub type Endpoint = ([u8; 16], [u8; 2]);

shared_struct! {
    /// The bidirectional 5-tuple of a flow, the same for both directions: the end with the smaller
    /// (address, port) stands first. Addresses and ports are in network byte order.
    #[derive(PartialOrd, Ord)]
    pub struct FlowKey: 40 {
        /// Smaller end's address; IPv4 as IPv4-mapped IPv6 (RFC 4291 section 2.5.5.2).
        pub lower_addr: [u8; 16],
        /// Greater end's address.
        pub upper_addr: [u8; 16],
        /// Smaller end's port.
        pub lower_port: [u8; 2],
        /// Greater end's port.
        pub upper_port: [u8; 2],
        /// 6 (TCP) or 17 (UDP).
        pub protocol: u8,
        /// 4 or 6: an IPv6 packet may carry an IPv4-mapped address.
        pub ip_version: u8,
        /// Always 0.
        pub reserved: [u8; 2],
    }
}

impl core::hash::Hash for FlowKey {
    /// By words: field by field it is most of the cost of a look into a table.
    #[inline]
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        for address in [self.lower_addr, self.upper_addr] {
            Address::from_bytes(address).0.iter().for_each(|word| state.write_u64(*word));
        }
        let ([a, b], [c, d], [e, f]) = (self.lower_port, self.upper_port, self.reserved);
        state.write_u64(u64::from_ne_bytes([a, b, c, d, self.protocol, self.ip_version, e, f]));
    }
}

impl FlowKey {
    /// No flow: all zero.
    pub const ZERO: Self = Self {
        lower_addr: [0; 16],
        upper_addr: [0; 16],
        lower_port: [0; 2],
        upper_port: [0; 2],
        protocol: 0,
        ip_version: 0,
        reserved: [0; 2],
    };

    /// Makes this the key of a packet from `source` to `destination`, and tells whether its sender is the
    /// upper end. Every byte is written.
    #[inline(always)]
    pub fn set(
        &mut self,
        source: (Address, [u8; 2]),
        destination: (Address, [u8; 2]),
        protocol: u8,
        ip_version: u8,
    ) -> bool {
        let rank = |end: (Address, [u8; 2])| (end.0.rank(), u16::from_be_bytes(end.1));
        let from_upper = rank(source) > rank(destination);
        let (lower, upper) = if from_upper { (destination, source) } else { (source, destination) };
        self.lower_addr = lower.0.bytes();
        self.upper_addr = upper.0.bytes();
        self.lower_port = lower.1;
        self.upper_port = upper.1;
        self.protocol = protocol;
        self.ip_version = ip_version;
        self.reserved = [0; 2];
        from_upper
    }

    /// The lower end.
    pub const fn lower(&self) -> Endpoint {
        (self.lower_addr, self.lower_port)
    }

    /// The upper end.
    pub const fn upper(&self) -> Endpoint {
        (self.upper_addr, self.upper_port)
    }
}
