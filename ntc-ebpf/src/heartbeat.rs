//! `HEARTBEAT`: labels count only while the agent lives.

use aya_ebpf::{btf_maps::Array, helpers::bpf_jiffies64, macros::btf_map};
use ntc_common::label::Heartbeat;

#[btf_map]
static HEARTBEAT: Array<Heartbeat, 1> = Array::new();

/// Lets labels count for so many jiffies from now.
#[inline(always)]
pub fn extend(jiffies: u64) {
    let now = now();
    // An array slot always exists.
    let _ = HEARTBEAT.set(0, Heartbeat { deadline: now + jiffies, set_at: now }, 0);
}

/// Whether labels count.
#[inline(always)]
pub fn fresh() -> bool {
    HEARTBEAT.get(0).is_some_and(|beat| now() < beat.deadline)
}

#[inline(always)]
fn now() -> u64 {
    // SAFETY: the helper takes no argument and only reads a counter.
    unsafe { bpf_jiffies64() }
}
