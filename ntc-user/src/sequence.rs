//! The first packets of a flow, by their place: what a model is asked about.

use ntc_common::{limits::SEQUENCE_LENGTH, record::PacketRecord};

/// One packet of a sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Element {
    /// ns of packet time.
    pub timestamp_ns: u64,
    /// TCP or UDP payload in bytes.
    pub payload_len: u32,
    /// TCP window, unscaled; 0 for UDP.
    pub window: u16,
    /// 0: from the flow's source. 1: to it.
    pub direction: u8,
    /// TCP flags; 0 for UDP.
    pub tcp_flags: u8,
}

/// Up to [`SEQUENCE_LENGTH`] packets, each in its place: a lost record leaves a hole, and one that comes
/// late (from another CPU) still finds its place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sequence {
    elements: Vec<Element>,
    /// Bit i: the packet with index i is there.
    present: u32,
}

impl Sequence {
    /// Puts a record in its place. `false` if the place is taken or beyond the sequence, which no kernel
    /// program makes.
    #[inline]
    pub fn place(&mut self, record: &PacketRecord) -> bool {
        let index = usize::from(record.index);
        let bit = 1u32.checked_shl(index as u32).unwrap_or(0);
        if index >= SEQUENCE_LENGTH || self.present & bit != 0 {
            return false;
        }
        let element = Element {
            timestamp_ns: record.timestamp_ns,
            payload_len: record.payload_len,
            window: record.window,
            direction: record.direction(),
            tcp_flags: record.tcp_flags,
        };
        self.present |= bit;
        if index == self.elements.len() {
            self.elements.push(element);
        } else {
            if index > self.elements.len() {
                self.elements.resize(index + 1, Element::default());
            }
            self.elements[index] = element;
        }
        true
    }

    /// The packets up to the first hole: the part that is surely the flow's beginning.
    #[inline]
    pub fn packets(&self) -> &[Element] {
        let whole = self.present.trailing_ones() as usize;
        &self.elements[..whole.min(self.elements.len())]
    }

    /// Places before the last packet at hand whose record is missing.
    pub const fn holes(&self) -> u32 {
        (u32::BITS - self.present.leading_zeros()) - self.present.count_ones()
    }

    /// Whether every place is filled.
    #[inline]
    pub const fn is_full(&self) -> bool {
        self.present.count_ones() as usize == SEQUENCE_LENGTH
    }

    /// Time since the packet before, in ns: 0 for the first, and where two CPUs stamped out of order.
    #[inline]
    pub fn gap_ns(packets: &[Element], index: usize) -> u64 {
        match index.checked_sub(1).and_then(|before| packets.get(before)) {
            Some(before) => packets[index].timestamp_ns.saturating_sub(before.timestamp_ns),
            None => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ntc_common::key::FlowKey;
    use proptest::prelude::*;

    fn record(index: u8) -> PacketRecord {
        PacketRecord {
            key: FlowKey::ZERO,
            start_ns: 0,
            timestamp_ns: 1000 + u64::from(index),
            payload_len: u32::from(index),
            ifindex: 0,
            window: 0,
            vlan: 0xffff,
            index,
            flags: 0,
            tcp_flags: 0,
            end: 0,
        }
    }

    proptest! {
        #[test]
        fn any_order_and_any_loss_gives_a_true_prefix(order in proptest::collection::vec(0u8..40, 0..60)) {
            let mut sequence = Sequence::default();
            let mut seen = std::collections::BTreeSet::new();
            for index in order {
                let fresh = usize::from(index) < SEQUENCE_LENGTH && seen.insert(index);
                prop_assert_eq!(sequence.place(&record(index)), fresh);
            }
            let whole = (0u8..).take_while(|i| seen.contains(i)).count();
            prop_assert_eq!(sequence.packets().len(), whole);
            for (i, packet) in sequence.packets().iter().enumerate() {
                prop_assert_eq!(packet.payload_len as usize, i);
            }
            let last = seen.last().map_or(0, |i| u32::from(*i) + 1);
            prop_assert_eq!(sequence.holes(), last - seen.len() as u32);
        }
    }
}
