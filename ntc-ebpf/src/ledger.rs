//! `LEDGER`: where each packet went.

use aya_ebpf::{btf_maps::PerCpuArray, macros::btf_map};
use ntc_common::ledger::Ledger;

#[btf_map]
static LEDGER: PerCpuArray<Ledger, 1> = PerCpuArray::new();

/// This CPU's counts. One look-up a packet, plain adds: programs of one CPU do not interrupt each other.
#[inline(always)]
pub fn this_cpu() -> Option<&'static mut Ledger> {
    let ledger = LEDGER.get_ptr_mut(0)?;
    // SAFETY: the slot is this CPU's own, lives as long as the map, and only this program run uses it.
    Some(unsafe { &mut *ledger })
}

/// Counts a packet that belongs to no flow, by its [`ParseError`](ntc_common::error::ParseError).
#[inline(always)]
pub fn not_flow(ledger: &mut Ledger, error: u32) {
    if let Some(counter) = ledger.not_flow.get_mut(error as usize) {
        *counter += 1;
    }
}
