//! `LEDGER`: where each packet went.

use aya_ebpf::{btf_maps::PerCpuArray, macros::btf_map};
use ntc_common::{ledger::Ledger, offload::Split};

#[btf_map]
static LEDGER: PerCpuArray<Ledger, 1> = PerCpuArray::new();

/// This CPU's counts. One look-up a packet, plain adds: programs of one CPU do not interrupt each other.
#[inline(always)]
pub fn this_cpu() -> Option<&'static mut Ledger> {
    let ledger = LEDGER.get_ptr_mut(0)?;
    // SAFETY: the slot is this CPU's own, lives as long as the map, and only this program run uses it.
    Some(unsafe { &mut *ledger })
}

/// Counts a buffer that stood for several packets, or would not tell for how many: `split` is a [`Split`] as a number.
#[inline(always)]
pub fn offloaded(ledger: &mut Ledger, split: u32) {
    if split != Split::One as u32 {
        ledger.super_packets += 1;
        if split == Split::Unknown as u32 {
            ledger.unsplit += 1;
        }
    }
}

/// Counts packets that belong to no flow, by their [`ParseError`](ntc_common::error::ParseError).
#[inline(always)]
pub fn not_flow(ledger: &mut Ledger, error: u32, packets: u64) {
    ledger.seen += packets;
    if let Some(counter) = ledger.not_flow.get_mut(error as usize) {
        *counter += packets;
    }
}
