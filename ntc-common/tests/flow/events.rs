//! Packets of one key, and the table of one slot that applies the rule to them as every caller does.

use ntc_common::{
    flow::{End, FlowRule, FlowState, Owned, Step},
    key::{FlowKey, IPPROTO_TCP},
    packet::{NO_VLAN, Packet},
};

pub const FIN: u8 = 0x01;
pub const SYN: u8 = 0x02;
pub const RST: u8 = 0x04;
pub const ACK: u8 = 0x10;

/// A packet of 100 bytes from the key's lower end.
pub const fn packet(protocol: u8, tcp_flags: u8) -> Packet {
    Packet {
        key: FlowKey { protocol, ip_version: 4, ..FlowKey::ZERO },
        from_upper: false,
        payload_len: 60,
        ip_len: 100,
        window: 512,
        tcp_flags,
        dscp: 0,
        vlan: NO_VLAN,
        ip_offset: 14,
        transport_offset: 0,
        zero_ip_len: false,
        jumbo: false,
        segments: 1,
        segment_len: 0,
    }
}

pub const fn tcp(tcp_flags: u8) -> Packet {
    packet(IPPROTO_TCP, tcp_flags)
}

/// The same packet from the key's upper end.
pub const fn from_upper(packet: Packet) -> Packet {
    Packet { from_upper: true, ..packet }
}

/// What a packet did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Why the flow before it is over, if the packet began a new flow in its place.
    pub ended: Option<End>,
    /// The packet began a flow.
    pub began: bool,
    pub step: Step,
}

/// The flow table for one key.
#[derive(Debug, Default)]
pub struct Slot {
    pub flow: Option<FlowState>,
}

impl Slot {
    pub fn take(&mut self, packet: &Packet, now_ns: u64, rule: &FlowRule) -> Outcome {
        let ended = self.flow.and_then(|flow| flow.ended_before(packet, now_ns, rule));
        let began = ended.is_some() || self.flow.is_none();
        if began {
            self.flow = Some(FlowState::begin(packet, now_ns, 0));
        }
        let Some(flow) = self.flow.as_mut() else { panic!("a flow was just begun") };
        Outcome { ended, began, step: flow.account::<Owned>(packet, now_ns, rule) }
    }
}
