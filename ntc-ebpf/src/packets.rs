//! `PACKETS`: the ring that carries sequences to the agent.

use aya_ebpf::{
    bindings::{BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    btf_maps::RingBuf,
    macros::btf_map,
};
use ntc_common::{limits::DEFAULT_RING_BYTES, record::PacketRecord};

#[btf_map]
static PACKETS: RingBuf<PacketRecord, { DEFAULT_RING_BYTES as usize }> = RingBuf::new();

/// Sends a record; `false` where the ring is full. Only the packet that completes a sequence wakes the
/// agent: the others are found by it then, or by its timer. The record is made in the ring itself, not on
/// the stack of 512 bytes.
#[inline(always)]
pub fn send(wake: bool, record: impl FnOnce() -> PacketRecord) -> bool {
    let Some(mut entry) = PACKETS.reserve(0) else { return false };
    entry.write(record());
    entry.submit(if wake { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP }.into());
    true
}
