//! The operator's rules: flows that have a class whatever the model says, from their first packet on.

use crate::key::FlowKey;

shared_struct! {
    /// What a flow must be like to have a class: all that is given has to match, at either end of the flow.
    pub struct Rule: 48 {
        /// Prefix of one end's address, its bytes in network order; IPv4 as IPv4-mapped IPv6.
        pub address: [u64; 2],
        /// Which bits of the address are the prefix; 0: any.
        pub mask: [u64; 2],
        /// Hardware address of one end, as a number; 0: any.
        pub mac: u64,
        /// Lowest port.
        pub port_low: u16,
        /// Highest port.
        pub port_high: u16,
        /// 6 (TCP) or 17 (UDP); 0: any.
        pub protocol: u8,
        /// The class; 0: its packets are left alone.
        pub class: u8,
        /// Always 0.
        pub reserved: [u8; 2],
    }
}

/// A packet's flow as rules look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    addresses: [[u64; 2]; 2],
    ports: [u16; 2],
    macs: [u64; 2],
    protocol: u8,
}

impl Ends {
    /// Of a flow; `macs` are the packet's hardware addresses, 0 where it has none.
    #[inline(always)]
    pub fn of(key: &FlowKey, macs: [u64; 2]) -> Self {
        let mut ends = Self { addresses: [[0; 2]; 2], ports: [0; 2], macs: [0; 2], protocol: 0 };
        ends.set(key, macs);
        ends
    }

    /// Makes these the ends of a flow, in place: the kernel's stack has no room for them.
    #[inline(always)]
    pub fn set(&mut self, key: &FlowKey, macs: [u64; 2]) {
        let words = core::ptr::from_ref(key).cast::<u64>();
        // SAFETY: both addresses, four words, are the beginning of a key; the read asks for no alignment.
        let word = |index| unsafe { words.add(index).read_unaligned() };
        self.addresses = [[word(0), word(1)], [word(2), word(3)]];
        self.ports = [u16::from_be_bytes(key.lower_port), u16::from_be_bytes(key.upper_port)];
        self.macs = macs;
        self.protocol = key.protocol;
    }
}

/// A hardware address (IEEE 802) as a number.
#[inline(always)]
pub const fn mac(bytes: [u8; 6]) -> u64 {
    u64::from_be_bytes([0, 0, bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5]])
}

impl Rule {
    /// No rule.
    pub const NONE: Self = Self {
        address: [0; 2],
        mask: [0; 2],
        mac: 0,
        port_low: 0,
        port_high: u16::MAX,
        protocol: 0,
        class: 0,
        reserved: [0; 2],
    };

    /// Asks for an address in the prefix of so many bits; those of IPv4-mapped addresses count from 96 on.
    #[must_use]
    pub fn with_prefix(mut self, address: [u8; 16], bits: u8) -> Self {
        let wide = if bits == 0 { 0 } else { u128::MAX << (128 - u32::from(bits)) };
        let split = |bytes: [u8; 16]| -> [u64; 2] {
            // SAFETY: sixteen bytes are two words, and any bytes are words.
            unsafe { core::mem::transmute(bytes) }
        };
        let masked = u128::from_be_bytes(address) & wide;
        (self.address, self.mask) = (split(masked.to_be_bytes()), split(wide.to_be_bytes()));
        self
    }

    /// Whether a flow is one of those meant.
    ///
    /// A condition that fails ends it. The fields are read one by one, so that the compiler cannot make one condition of
    /// several: it would keep their outcomes, and the verifier would follow every combination of them through all rules. Nor
    /// are the ends kept on a stack that has no room for them.
    #[inline(always)]
    pub fn matches(&self, ends: &Ends) -> bool {
        let protocol = read(&self.protocol);
        if protocol != 0 && protocol != read(&ends.protocol) {
            return false;
        }
        for_end(self, ends, Self::beyond)
            && for_end(self, ends, Self::differs)
            && for_end(self, ends, Self::other_device)
    }

    #[inline(always)]
    fn beyond(&self, ends: &Ends, end: usize) -> bool {
        let low = read(&self.port_low);
        read(&ends.ports[end]).wrapping_sub(low) > read(&self.port_high).wrapping_sub(low)
    }

    #[inline(always)]
    fn differs(&self, ends: &Ends, end: usize) -> bool {
        let half = |half: usize| {
            (read(&ends.addresses[end][half]) ^ read(&self.address[half])) & read(&self.mask[half])
        };
        half(0) | half(1) != 0
    }

    #[inline(always)]
    fn other_device(&self, ends: &Ends, end: usize) -> bool {
        let mac = read(&self.mac);
        mac != 0 && mac != read(&ends.macs[end])
    }
}

/// Whether either end is as it should be.
#[inline(always)]
fn for_end(rule: &Rule, ends: &Ends, fails: impl Fn(&Rule, &Ends, usize) -> bool) -> bool {
    !fails(rule, ends, 0) || !fails(rule, ends, 1)
}

/// A read that stays where it is.
#[inline(always)]
fn read<T: Copy>(field: &T) -> T {
    // SAFETY: a reference is valid for reading.
    unsafe { core::ptr::from_ref(field).read_volatile() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{Address, IPPROTO_TCP, IPPROTO_UDP};

    fn ends(source: ([u8; 4], u16), destination: ([u8; 4], u16), protocol: u8) -> Ends {
        let mut key = FlowKey::ZERO;
        let end = |(address, port): ([u8; 4], u16)| (Address::mapped(address), port.to_be_bytes());
        key.set(end(source), end(destination), protocol, 4);
        Ends::of(&key, [mac([2, 0, 0, 0, 0, 1]), mac([2, 0, 0, 0, 0, 2])])
    }

    fn mapped(v4: [u8; 4]) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[10..12].fill(0xff);
        bytes[12..].copy_from_slice(&v4);
        bytes
    }

    #[test]
    fn all_that_is_given_has_to_match_and_either_end_may() {
        let call = ends(([192, 168, 1, 20], 40_000), ([203, 0, 113, 7], 5060), IPPROTO_UDP);
        let back = ends(([203, 0, 113, 7], 5060), ([192, 168, 1, 20], 40_000), IPPROTO_UDP);
        for ends in [call, back] {
            assert!(Rule::NONE.matches(&ends));
            let port = Rule { port_low: 5060, port_high: 5061, ..Rule::NONE };
            assert!(port.matches(&ends));
            assert!(!Rule { port_low: 5061, ..port }.matches(&ends));
            assert!(!Rule { protocol: IPPROTO_TCP, ..port }.matches(&ends));
            for (address, bits, wanted) in [
                ([192, 168, 1, 0], 96 + 24, true),
                ([192, 168, 1, 21], 96 + 32, false),
                ([203, 0, 113, 7], 96 + 32, true),
                ([0, 0, 0, 0], 96, true),
                ([10, 0, 0, 0], 96 + 8, false),
            ] {
                assert_eq!(
                    port.with_prefix(mapped(address), bits).matches(&ends),
                    wanted,
                    "{address:?}/{bits}"
                );
            }
            assert!(!Rule::NONE.with_prefix([0x20; 16], 8).matches(&ends), "an IPv6 prefix");
            assert!(Rule { mac: mac([2, 0, 0, 0, 0, 2]), ..port }.matches(&ends));
            assert!(!Rule { mac: mac([2, 0, 0, 0, 0, 3]), ..port }.matches(&ends));
        }
    }
}
