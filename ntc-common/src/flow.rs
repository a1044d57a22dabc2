//! The flow rule: which packets make a flow, and which of them are recorded.
//!
//! Pure and in packet time. The kernel calls it with `bpf_ktime_get_ns`, the capture reader with the time
//! in the file; neither has a rule of its own.

use crate::{
    key::{FlowKey, IPPROTO_TCP},
    packet::{NO_VLAN, Packet, tcp_flags},
    record::{PacketRecord, record_flags},
};

/// Adding to a word that two CPUs may touch at once.
///
/// Two packets of one flow can be on two CPUs: their index in the sequence must differ all the same. BPF
/// has atomic instructions, but its Rust target has no atomic types, so the kernel brings its own.
pub trait Words {
    /// Adds `value` and returns what was there before.
    fn fetch_add(word: &mut u64, value: u64) -> u64;
    /// Sets `bits` and returns what was there before.
    fn fetch_or(word: &mut u64, bits: u64) -> u64;
}

/// Words that one thread owns: the host's flow table.
#[derive(Clone, Copy, Debug)]
pub struct Owned;

impl Words for Owned {
    #[inline(always)]
    fn fetch_add(word: &mut u64, value: u64) -> u64 {
        let before = *word;
        *word = before.wrapping_add(value);
        before
    }

    #[inline(always)]
    fn fetch_or(word: &mut u64, bits: u64) -> u64 {
        let before = *word;
        *word |= bits;
        before
    }
}

shared_struct! {
    /// When a flow ends, and how much of it is recorded.
    pub struct FlowRule: 40 {
        /// A TCP flow without a packet for longer is over; ns of packet time.
        pub tcp_idle_ns: u64,
        /// A UDP flow without a packet for longer is over; ns of packet time.
        pub udp_idle_ns: u64,
        /// For so long after its close a TCP flow still takes packets other than SYN; ns of packet time.
        pub linger_ns: u64,
        /// Packets of a flow that are recorded.
        pub sequence_length: u64,
        /// 1: FIN from both sides, or RST, closes a TCP flow. 0: only idleness ends a flow.
        pub close: u64,
    }
}

const SECOND: u64 = 1_000_000_000;

impl FlowRule {
    /// What `ntc run` uses unless configured otherwise.
    ///
    /// Idle: five minutes for TCP (a shell waiting for its user), two for UDP (RFC 4787 REQ-5 asks as much
    /// of NATs). Linger: retransmitted FINs and ACKs come within TCP's back-off of some seconds.
    pub const DEFAULT: Self = Self {
        tcp_idle_ns: 300 * SECOND,
        udp_idle_ns: 120 * SECOND,
        linger_ns: 10 * SECOND,
        sequence_length: crate::limits::SEQUENCE_LENGTH as u64,
        close: 1,
    };

    /// The rule by which the labelled captures were cut: 120 s idle and nothing else ends a flow.
    pub const CORPUS: Self =
        Self { tcp_idle_ns: 120 * SECOND, udp_idle_ns: 120 * SECOND, close: 0, ..Self::DEFAULT };

    /// Idle time-out of a protocol in ns.
    #[inline(always)]
    pub const fn idle_ns(&self, protocol: u8) -> u64 {
        if protocol == IPPROTO_TCP { self.tcp_idle_ns } else { self.udp_idle_ns }
    }
}

/// Bits of [`FlowState::flags`].
pub mod flow_flags {
    /// The key's upper end sent the first packet.
    pub const UPPER_IS_SOURCE: u64 = 1;
    /// FIN seen from the source.
    pub const FIN_FORWARD: u64 = 2;
    /// FIN seen from the destination.
    pub const FIN_BACKWARD: u64 = 4;
    /// RST seen.
    pub const RST: u64 = 8;
    /// The table forgot the flow while its label lived, and took it up again: it is not classified again.
    pub const RESUMED: u64 = 16;
    /// It began while the agent was behind: it is not recorded.
    pub const SHED: u64 = 32;
    /// FIN from both sides.
    pub const FINS: u64 = FIN_FORWARD | FIN_BACKWARD;
}

shared_struct! {
    /// What is known of a live flow. Times are ns of packet time. What a packet changes, and what decides who gives
    /// way in a full table, stands in the second half: one cache line of a [`FlowSlot`](crate::table::FlowSlot).
    pub struct FlowState: 80 {
        /// First packet; with the key it names the flow.
        pub start_ns: u64,
        /// The closing packet (second FIN, or RST); 0 while open.
        pub closed_ns: u64,
        /// VLAN id of the first packet, or 0xffff.
        pub vlan: u32,
        /// Interface on which the first packet was seen; 0 in a capture file.
        pub ifindex: u32,
        /// Latest packet.
        pub last_ns: u64,
        /// Packets that asked for a place in the sequence; grows until the rule's length is reached.
        pub sequence: u64,
        /// [`flow_flags`].
        pub flags: u64,
        /// Wire packets from and to the source.
        pub packets: [u64; 2],
        /// IP bytes from and to the source, headers included.
        pub bytes: [u64; 2],
    }
}

/// Why a flow is over.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// FIN from both sides.
    Fin = 1,
    /// RST.
    Rst = 2,
    /// No packet for longer than the idle time-out.
    Idle = 3,
    /// The capture ended.
    Eof = 4,
    /// A table that was full gave it up (capture files only).
    Evicted = 5,
}

impl End {
    /// Name in output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fin => "fin",
            Self::Rst => "rst",
            Self::Idle => "idle",
            Self::Eof => "eof",
            Self::Evicted => "evicted",
        }
    }

    /// From [`PacketRecord::end`]; 0 and unknown numbers are `None`.
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Fin,
            2 => Self::Rst,
            3 => Self::Idle,
            4 => Self::Eof,
            5 => Self::Evicted,
            _ => return None,
        })
    }
}

/// What a flow is worth to a table that has no room for all, least first.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It is over.
    Over = 0,
    /// Nobody has answered: scans and spoofed senders make nothing else.
    Unanswered = 1,
    /// Both sides have sent, the sequence is not full.
    Incomplete = 2,
    /// The sequence is full: it is, or is about to be, labelled for good.
    Complete = 3,
}

/// What becomes of a packet of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Place in the sequence, if the packet is to be recorded: the first, where it stands for several.
    pub index: Option<u8>,
    /// Places that its wire packets got.
    pub places: u32,
    /// 0: from the flow's source. 1: to it.
    pub direction: u8,
    /// The packet closes the flow.
    pub closes: Option<End>,
}

impl FlowState {
    /// A flow that `packet` begins, before it is accounted.
    #[inline(always)]
    pub const fn begin(packet: &Packet, now_ns: u64, ifindex: u32) -> Self {
        Self {
            start_ns: now_ns,
            closed_ns: 0,
            vlan: packet.vlan as u32,
            ifindex,
            last_ns: now_ns,
            sequence: 0,
            flags: if packet.from_upper { flow_flags::UPPER_IS_SOURCE } else { 0 },
            packets: [0; 2],
            bytes: [0; 2],
        }
    }

    /// Marks a flow that the table forgot while its label lived: nothing more of it is recorded.
    #[inline(always)]
    pub const fn resume(&mut self, rule: &FlowRule) {
        self.flags |= flow_flags::RESUMED;
        self.sequence = rule.sequence_length;
    }

    /// Why the flow is over before `packet`, which then begins a new one; `None` where it goes on.
    #[inline(always)]
    pub fn ended_before(&self, packet: &Packet, now_ns: u64, rule: &FlowRule) -> Option<End> {
        let closed = self.closed_ns != 0;
        if closed && (packet.opens() || now_ns.saturating_sub(self.closed_ns) > rule.linger_ns) {
            return Some(self.close_reason());
        }
        if self.idle(packet.key.protocol, now_ns, rule) {
            return Some(if closed { self.close_reason() } else { End::Idle });
        }
        None
    }

    /// Why the flow is over at `now_ns`, with no packet to go by; `None` where it may go on.
    #[inline(always)]
    pub fn over(&self, protocol: u8, now_ns: u64, rule: &FlowRule) -> Option<End> {
        let closed = self.closed_ns != 0;
        if closed && now_ns.saturating_sub(self.closed_ns) > rule.linger_ns {
            return Some(self.close_reason());
        }
        self.idle(protocol, now_ns, rule).then_some(if closed { self.close_reason() } else { End::Idle })
    }

    /// What the flow is worth to a table that has no room for all.
    #[inline(always)]
    pub fn standing(&self, protocol: u8, now_ns: u64, rule: &FlowRule) -> Standing {
        // Whether it is closed stands in the other cache line: looked at only if there was a FIN or RST.
        let ending = self.flags & (flow_flags::FINS | flow_flags::RST) != 0;
        if self.idle(protocol, now_ns, rule) || (ending && self.over(protocol, now_ns, rule).is_some()) {
            Standing::Over
        } else if self.sequence >= rule.sequence_length && self.flags & flow_flags::SHED == 0 {
            Standing::Complete
        } else if self.packets[0] != 0 && self.packets[1] != 0 {
            Standing::Incomplete
        } else {
            Standing::Unanswered
        }
    }

    /// Marks a flow that begins while the agent is behind: nothing of it is recorded.
    #[inline(always)]
    pub const fn shed(&mut self, rule: &FlowRule) {
        self.flags |= flow_flags::SHED;
        self.sequence = rule.sequence_length;
    }

    #[inline(always)]
    fn idle(&self, protocol: u8, now_ns: u64, rule: &FlowRule) -> bool {
        now_ns.saturating_sub(self.last_ns) > rule.idle_ns(protocol)
    }

    /// How a closed flow was closed; of an open one, that the capture ended.
    #[inline(always)]
    pub const fn close_reason(&self) -> End {
        if self.closed_ns == 0 {
            End::Eof
        } else if self.flags & flow_flags::FINS == flow_flags::FINS {
            End::Fin
        } else {
            End::Rst
        }
    }

    /// Accounts a packet that belongs to the flow: all its wire packets at once, as if each had come by itself.
    #[inline(always)]
    pub fn account<W: Words>(&mut self, packet: &Packet, now_ns: u64, rule: &FlowRule) -> Step {
        let from_source = packet.from_upper == (self.flags & flow_flags::UPPER_IS_SOURCE != 0);
        let direction = if from_source { 0 } else { 1 };
        if now_ns > self.last_ns {
            self.last_ns = now_ns;
        }
        let segments = u64::from(packet.segments);
        W::fetch_add(&mut self.packets[direction], segments);
        W::fetch_add(&mut self.bytes[direction], packet.wire_bytes());
        let closes = self.close::<W>(packet, from_source, now_ns, rule);
        // Looked at before it is taken, so that a long flow does not count its packets here as well.
        let (index, places) = if self.sequence < rule.sequence_length {
            let place = W::fetch_add(&mut self.sequence, segments);
            if place < rule.sequence_length {
                let free = rule.sequence_length - place;
                (Some(place as u8), if segments < free { segments } else { free })
            } else {
                (None, 0)
            }
        } else {
            (None, 0)
        };
        Step { index, places: places as u32, direction: direction as u8, closes }
    }

    #[inline(always)]
    fn close<W: Words>(
        &mut self,
        packet: &Packet,
        from_source: bool,
        now_ns: u64,
        rule: &FlowRule,
    ) -> Option<End> {
        let ending = packet.tcp_flags & (tcp_flags::FIN | tcp_flags::RST) != 0;
        if rule.close == 0 || !ending || self.closed_ns != 0 {
            return None;
        }
        let bits = if packet.tcp_flags & tcp_flags::RST != 0 {
            flow_flags::RST
        } else if from_source {
            flow_flags::FIN_FORWARD
        } else {
            flow_flags::FIN_BACKWARD
        };
        let flags = W::fetch_or(&mut self.flags, bits) | bits;
        // 0 says open, and a capture may begin at 0.
        let closed_ns = if now_ns == 0 { 1 } else { now_ns };
        if bits == flow_flags::RST {
            self.closed_ns = closed_ns;
            Some(if flags & flow_flags::FINS == flow_flags::FINS { End::Fin } else { End::Rst })
        } else if flags & flow_flags::FINS == flow_flags::FINS {
            self.closed_ns = closed_ns;
            Some(End::Fin)
        } else {
            None
        }
    }

    /// The record of a packet that was given a place in the sequence.
    #[inline(always)]
    pub fn record(&self, packet: &Packet, step: &Step, index: u8, now_ns: u64, ifindex: u32) -> PacketRecord {
        PacketRecord {
            key: packet.key,
            start_ns: self.start_ns,
            timestamp_ns: now_ns,
            payload_len: packet.payload_len,
            segment_len: packet.segment_len,
            ifindex,
            window: packet.window,
            vlan: packet.vlan,
            segments: packet.segments as u16,
            places: step.places as u16,
            index,
            flags: step.direction * record_flags::TO_SOURCE
                + (self.flags & flow_flags::UPPER_IS_SOURCE) as u8 * record_flags::UPPER_IS_SOURCE,
            tcp_flags: packet.tcp_flags,
            end: match step.closes {
                Some(end) => end as u8,
                None => 0,
            },
        }
    }

    /// Source and destination as (address, port): the source sent the first packet.
    pub const fn ends(&self, key: &FlowKey) -> (crate::key::Endpoint, crate::key::Endpoint) {
        if self.flags & flow_flags::UPPER_IS_SOURCE != 0 {
            (key.upper(), key.lower())
        } else {
            (key.lower(), key.upper())
        }
    }

    /// VLAN id of the first packet.
    pub const fn vlan(&self) -> Option<u16> {
        if self.vlan == NO_VLAN as u32 { None } else { Some(self.vlan as u16) }
    }
}
