//! The way of a packet through capture: parse, flow, record, each step counted.

use ntc_common::{
    link::LinkType,
    offload::{Offload, Split},
    packet::Packet,
    parse::parse,
    source::PacketSource,
};

use crate::{
    flows, ledger,
    scratch::{self, Scratch},
    source::Metadata,
};

/// What became of a packet, as debug builds log it: 0 recorded, 1 gated, 2 ring full, 3 table full,
/// 16 + [`ParseError`](ntc_common::error::ParseError) no flow.
pub type Outcome = u32;

/// A function of its own: it reads the packet from memory, and is verified once for all ways through the parser.
#[inline(never)]
fn split(offload: &Offload, packet: &mut Packet) -> Split {
    offload.split(packet)
}

/// Accounts one packet, or the wire packets of a super-packet.
#[inline(always)]
pub fn packet<S: PacketSource + Metadata>(source: &S, link: LinkType, ifindex: u32) -> Outcome {
    let (Some(ledger), Some(scratch)) = (ledger::this_cpu(), scratch::this_cpu()) else { return 0 };
    let Scratch { packet, .. } = &mut *scratch;
    let error = parsed(source, link, packet);
    if error != PARSED {
        let mut packets = 1;
        if let Some(offload) = source.offload() {
            ledger::offloaded(ledger, offload.uncounted());
            packets = u64::from(offload.segments.max(1));
        }
        ledger::not_flow(ledger, error, packets);
        return 16 + error;
    }
    if let Some(offload) = source.offload() {
        ledger::offloaded(ledger, split(&offload, packet));
    }
    if let Some(vlan) = source.stripped_vlan() {
        packet.vlan = vlan;
    }
    let packets = u64::from(packet.segments);
    ledger.seen += packets;
    if packet.zero_ip_len {
        ledger.zero_ip_len += 1;
    }
    match flows::account(scratch, ifindex) {
        flows::Fate::Recorded(places) => {
            ledger.recorded += places;
            ledger.gated += packets - places;
            0
        }
        flows::Fate::Gated => {
            ledger.gated += packets;
            1
        }
        flows::Fate::RingFull(places) => {
            ledger.ring_full += places;
            ledger.gated += packets - places;
            2
        }
        flows::Fate::TableFull => {
            ledger.table_full += packets;
            3
        }
    }
}

/// No [`ParseError`](ntc_common::error::ParseError).
const PARSED: u32 = u32::MAX;

/// The parser's error as a number, or [`PARSED`]. A function of its own: inlined, its part of the stack of 512 bytes
/// would be taken while the flow is looked up.
#[inline(never)]
fn parsed<S: PacketSource>(source: &S, link: LinkType, packet: &mut Packet) -> u32 {
    match parse(source, link, packet) {
        Ok(()) => PARSED,
        Err(error) => error as u32,
    }
}
