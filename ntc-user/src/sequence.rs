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
    /// Puts a record's wire packets in their places. `false` if one is taken or beyond the sequence, which no kernel
    /// program makes.
    #[inline]
    pub fn place(&mut self, record: &PacketRecord) -> bool {
        let (first, places) = (usize::from(record.index), usize::from(record.places));
        let end = first + places;
        if places == 0 || end > SEQUENCE_LENGTH {
            return false;
        }
        let bits = ((1u32 << places) - 1) << first;
        if self.present & bits != 0 {
            return false;
        }
        self.present |= bits;
        if end > self.elements.len() {
            self.reserve(end);
            self.elements.resize(end, Element::default());
        }
        for packet in record.wire_packets() {
            self.elements[packet.index] = Element {
                timestamp_ns: record.timestamp_ns,
                payload_len: packet.payload_len,
                window: record.window,
                direction: record.direction(),
                tcp_flags: packet.tcp_flags,
            };
        }
        true
    }

    /// Room for so many: most flows are short, and none has more than a sequence. Doubling would end at 32.
    #[inline]
    fn reserve(&mut self, places: usize) {
        const FIRST: usize = 4;
        let room = if places <= FIRST { FIRST } else { SEQUENCE_LENGTH.min(places.next_power_of_two()) };
        self.elements.reserve_exact(room - self.elements.len());
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

    fn record(index: u8, places: u16) -> PacketRecord {
        PacketRecord {
            key: FlowKey::ZERO,
            start_ns: 0,
            timestamp_ns: 1000 + u64::from(index),
            payload_len: 1000 + u32::from(index),
            segment_len: u32::from(index),
            ifindex: 0,
            window: 0,
            vlan: 0xffff,
            segments: places,
            places,
            index,
            flags: 0,
            tcp_flags: 0,
            end: 0,
        }
    }

    proptest! {
        #[test]
        fn any_order_and_any_loss_gives_a_true_prefix(
            records in proptest::collection::vec((0u8..40, 1u16..6), 0..60),
        ) {
            let mut sequence = Sequence::default();
            // Place to the record that it came with.
            let mut seen = std::collections::BTreeMap::new();
            for (index, places) in records {
                let range = usize::from(index)..usize::from(index) + usize::from(places);
                let fits = range.end <= SEQUENCE_LENGTH && range.clone().all(|place| !seen.contains_key(&place));
                prop_assert_eq!(sequence.place(&record(index, places)), fits);
                if fits {
                    seen.extend(range.map(|place| (place, (u32::from(index), u32::from(places)))));
                }
            }
            let whole = (0..).take_while(|place| seen.contains_key(place)).count();
            prop_assert_eq!(sequence.packets().len(), whole);
            for (place, packet) in sequence.packets().iter().enumerate() {
                let (index, places) = seen[&place];
                let last = place as u32 == index + places - 1;
                prop_assert_eq!(packet.payload_len, if last { 1000 + index } else { index });
                prop_assert_eq!(packet.timestamp_ns, 1000 + u64::from(index));
            }
            let last = seen.last_key_value().map_or(0, |(place, _)| *place as u32 + 1);
            prop_assert_eq!(sequence.holes(), last - seen.len() as u32);
            prop_assert_eq!(sequence.is_full(), seen.len() == SEQUENCE_LENGTH);
        }
    }
}
