//! The way of a packet through capture: parse, flow, record, each step counted.

use ntc_common::{link::LinkType, packet::Packet, parse::parse, source::PacketSource};

use crate::{
    flows, ledger,
    scratch::{self, Scratch},
    source::Metadata,
};

/// What became of a packet, as debug builds log it: 0 recorded, 1 gated, 2 ring full, 3 table full,
/// 16 + [`ParseError`](ntc_common::error::ParseError) no flow.
pub type Outcome = u32;

/// Accounts one packet.
#[inline(always)]
pub fn packet<S: PacketSource + Metadata>(source: &S, link: LinkType, ifindex: u32) -> Outcome {
    let (Some(ledger), Some(scratch)) = (ledger::this_cpu(), scratch::this_cpu()) else { return 0 };
    let Scratch { packet, .. } = &mut *scratch;
    ledger.seen += 1;
    let error = parsed(source, link, packet);
    if error != PARSED {
        ledger::not_flow(ledger, error);
        return 16 + error;
    }
    if source.is_super_packet() {
        ledger.super_packets += 1;
    }
    if let Some(vlan) = source.stripped_vlan() {
        packet.vlan = vlan;
    }
    if packet.zero_ip_len {
        ledger.zero_ip_len += 1;
    }
    match flows::account(scratch, ifindex) {
        flows::Fate::Recorded => {
            ledger.recorded += 1;
            0
        }
        flows::Fate::Gated => {
            ledger.gated += 1;
            1
        }
        flows::Fate::RingFull => {
            ledger.ring_full += 1;
            2
        }
        flows::Fate::TableFull => {
            ledger.table_full += 1;
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
