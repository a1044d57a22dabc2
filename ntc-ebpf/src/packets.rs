//! `PACKETS`: the ring that carries sequences to the agent.

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP, BPF_RB_RING_SIZE},
    btf_maps::RingBuf,
    helpers::bpf_ringbuf_query,
    macros::btf_map,
};
use ntc_common::{limits::DEFAULT_RING_BYTES, record::PacketRecord};

#[btf_map]
static PACKETS: RingBuf<PacketRecord, { DEFAULT_RING_BYTES as usize }> = RingBuf::new();

/// Sends a record; `false` where the ring is full. Only the packet that completes a sequence wakes the
/// agent: the others are found by it then, or by its timer. Not so the end of a flow, for which no label hurries: each
/// refused connection of a scan would wake it. The record is made in the ring itself, not on the stack of 512 bytes.
#[inline(always)]
pub fn send(wake: bool, record: impl FnOnce() -> PacketRecord) -> bool {
    let Some(mut entry) = PACKETS.reserve(0) else { return false };
    entry.write(record());
    entry.submit(if wake { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP }.into());
    true
}

/// Whether the agent is behind: three quarters of the ring are waiting for it. New flows are shed then, so that those
/// whose beginning is recorded get the rest of their sequence.
#[inline(always)]
pub fn crowded() -> bool {
    // SAFETY: the ring is a map of this object; the helper only reads.
    let query = |what: u32| unsafe { bpf_ringbuf_query((&raw const PACKETS).cast_mut().cast(), what.into()) };
    query(BPF_RB_AVAIL_DATA) > query(BPF_RB_RING_SIZE) / 4 * 3
}
