//! The way of a packet through capture: parse, flow, record, each step counted.

use crate::{
    flows, ledger,
    parser::{self, PARSED, Parse},
    scratch::{self, Scratch},
    source::Metadata,
};

/// What became of a packet, as debug builds log it: 0 recorded, 1 gated, 2 ring full, 3 table full,
/// 16 + [`ParseError`](ntc_common::error::ParseError) no flow.
pub type Outcome = u32;

/// Accounts one packet, or the wire packets of a super-packet. `raw_ip`: not 0 where packets begin with the IP header.
#[inline(always)]
pub fn packet<S: Parse + Metadata>(source: &S, raw_ip: u32, ifindex: u32) -> Outcome {
    let (Some(ledger), Some(scratch)) = (ledger::this_cpu(), scratch::this_cpu()) else { return 0 };
    let Scratch { packet, .. } = &mut *scratch;
    let error = source.parse(packet, raw_ip);
    if error != PARSED {
        let mut packets = 1;
        if let Some(offload) = source.offload() {
            ledger::offloaded(ledger, offload.uncounted() as u32);
            packets = u64::from(offload.segments.max(1));
        }
        ledger::not_flow(ledger, error, packets);
        return 16 + error;
    }
    if let Some(offload) = source.offload() {
        ledger::offloaded(ledger, parser::split(&offload, packet));
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
