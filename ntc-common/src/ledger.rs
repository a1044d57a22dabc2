//! One counter for each way that a packet can go.

use crate::error::ParseError;

/// Counters of the ways that lead to no flow.
pub const NOT_FLOW: usize = ParseError::ALL.len();

shared_struct! {
    /// Per-CPU counts of wire packets, of which each goes exactly one way:
    /// `seen = recorded + gated + ring_full + table_full + sum(not_flow)`.
    /// Those after `table_full` are counted apart. A super-packet (GSO, GRO) counts as the packets that it is on the
    /// wire; its places beyond the sequence are `gated`.
    pub struct Ledger: 224 {
        /// Packets that reached a capture program and are its to account.
        pub seen: u64,
        /// Packets that left a record.
        pub recorded: u64,
        /// Packets of flows whose sequence is full, or that were resumed.
        pub gated: u64,
        /// Packets whose record found the ring full: the sequence has a gap there.
        pub ring_full: u64,
        /// Packets of new flows that the flow table had no room for.
        pub table_full: u64,
        /// Flows begun.
        pub new_flows: u64,
        /// Flows that the table forgot and took up again under a live label.
        pub resumed_flows: u64,
        /// Flows that began while the agent was behind: their packets are in `gated`.
        pub shed_flows: u64,
        /// Buffers that stood for several packets on the wire (GSO, GRO), whether of a flow or not.
        pub super_packets: u64,
        /// Those of them whose wire packets could not be told, accounted as one.
        pub unsplit: u64,
        /// Packets with an IP length of 0 whose own length was taken.
        pub zero_ip_len: u64,
        /// By [`ParseError`], in the order of [`ParseError::ALL`].
        pub not_flow: [u64; NOT_FLOW],
    }
}

impl Ledger {
    /// Nothing counted yet.
    pub const ZERO: Self = Self {
        seen: 0,
        recorded: 0,
        gated: 0,
        ring_full: 0,
        table_full: 0,
        new_flows: 0,
        resumed_flows: 0,
        shed_flows: 0,
        super_packets: 0,
        unsplit: 0,
        zero_ip_len: 0,
        not_flow: [0; NOT_FLOW],
    };

    /// Packets that belong to no flow.
    pub fn not_flow_total(&self) -> u64 {
        self.not_flow.iter().sum()
    }

    /// Packets that belong to a flow and that ntc lost.
    pub const fn dropped(&self) -> u64 {
        self.ring_full + self.table_full
    }

    /// Whether every packet seen went exactly one way.
    pub fn closes(&self) -> bool {
        self.seen == self.recorded + self.gated + self.dropped() + self.not_flow_total()
    }

    /// Adds another CPU's counts.
    pub fn add(&mut self, other: &Self) {
        self.seen += other.seen;
        self.recorded += other.recorded;
        self.gated += other.gated;
        self.ring_full += other.ring_full;
        self.table_full += other.table_full;
        self.new_flows += other.new_flows;
        self.resumed_flows += other.resumed_flows;
        self.shed_flows += other.shed_flows;
        self.super_packets += other.super_packets;
        self.unsplit += other.unsplit;
        self.zero_ip_len += other.zero_ip_len;
        for (mine, theirs) in self.not_flow.iter_mut().zip(&other.not_flow) {
            *mine += theirs;
        }
    }
}
