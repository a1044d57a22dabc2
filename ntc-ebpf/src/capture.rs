//! The way of a packet through capture: parse, flow, record, each step counted.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use ntc_common::{link::LinkType, parse::parse, source::PacketSource};

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
    let Scratch { packet, fresh } = scratch;
    ledger.seen += 1;
    if let Err(error) = parse(source, link, packet) {
        ledger::not_flow(ledger, error);
        return 16 + error as u32;
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
    // SAFETY: the helper takes no argument and only reads a clock.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    match flows::account(packet, fresh, now_ns, ifindex, ledger) {
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
