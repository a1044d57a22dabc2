//! `SCRATCH`: room for what is too large for BPF's stack of 512 bytes.

use aya_ebpf::{btf_maps::PerCpuArray, macros::btf_map};
use ntc_common::{flow::FlowState, packet::Packet, rules::Ends, table::Place};

/// What a program works on while it runs.
pub struct Scratch {
    /// The packet at hand.
    pub packet: Packet,
    /// Where its flow may stand.
    pub place: Place,
    /// A flow that it may begin.
    pub fresh: FlowState,
    /// The packet's flow as rules look at it.
    pub ends: Ends,
}

#[btf_map]
static SCRATCH: PerCpuArray<Scratch, 1> = PerCpuArray::new();

/// This CPU's room.
#[inline(always)]
pub fn this_cpu() -> Option<&'static mut Scratch> {
    let scratch = SCRATCH.get_ptr_mut(0)?;
    // SAFETY: zeroes are a value of every field; the slot is this CPU's own, and programs that run with
    // bottom halves disabled do not interrupt each other.
    Some(unsafe { &mut *scratch })
}
