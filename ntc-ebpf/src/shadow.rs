//! `SHADOW_POLICY`, `SHADOW_LABELS`, `SHADOW_COUNTERS`: what another policy or another model would have done with each
//! packet, counted beside what is done. Inside only, where labels and rules speak of the packet's own tuple. Marks are
//! not gone by: they tell of what is done.

use aya_ebpf::{
    btf_maps::{Array, HashMap, PerCpuArray},
    macros::btf_map,
};
use ntc_common::{
    key::FlowKey,
    label::Label,
    limits::MAX_CLASSES,
    policy::{ClassCounter, PolicyTable, shadow_cell, shadow_flags},
};

use crate::{
    policy::{self, Wire},
    rules::{self, NONE},
    scratch, settings,
};

#[btf_map]
static SHADOW_POLICY: Array<PolicyTable, 1> = Array::new();

/// As many as `LABELS` has, where a shadow is counted.
#[btf_map]
static SHADOW_LABELS: HashMap<FlowKey, Label, 1> = HashMap::new();

#[btf_map]
static SHADOW_COUNTERS: PerCpuArray<ClassCounter, { (MAX_CLASSES * MAX_CLASSES) as usize }> =
    PerCpuArray::new();

/// Stands for the shadow's policy where a slot is asked for.
pub const SLOT: u32 = 2;

/// Whether there is a shadow: constant to the verifier.
#[inline(always)]
pub fn counted() -> bool {
    settings::shadow() & shadow_flags::COUNTED != 0
}

/// The shadow's own policy.
#[inline(always)]
pub fn table() -> Option<&'static PolicyTable> {
    SHADOW_POLICY.get(0)
}

/// Ends the shadow's label of a flow that is over.
#[inline(always)]
pub fn forget(key: &FlowKey) {
    // None there is as good.
    let _ = SHADOW_LABELS.remove(key);
}

/// Counts the packet in the scratch room, to which the policy in a slot gave a class. Defaults act at egress only.
#[inline(always)]
pub fn count(slot: u32, class: u8, macs: [u64; 2], egress: bool, wire: Wire) {
    let Some(scratch) = scratch::this_cpu() else { return };
    scratch.ends.set(&scratch.packet.key, macs);
    let own = settings::shadow() & shadow_flags::OWN_POLICY != 0;
    let would = ntc_shadow(if own { SLOT } else { slot }, egress.into()) as u8;
    if let Some(counter) = SHADOW_COUNTERS.get_ptr_mut(shadow_cell(class, would)) {
        wire.add_to(counter);
    }
}

/// The class that the shadow gives the packet in the scratch room by a policy; 0: left alone. A global function, as
/// those in [`rules`] are.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn ntc_shadow(slot: u32, egress: u32) -> u32 {
    let (Some(table), Some(scratch)) = (policy::table(slot), scratch::this_cpu()) else { return 0 };
    let ruled = rules::ntc_rule(slot);
    if ruled != NONE {
        return ruled;
    }
    // SAFETY: as for `LABELS`.
    let label = unsafe { SHADOW_LABELS.get(&scratch.packet.key) };
    let class = label.map_or(0, |label| table.by_label(label));
    if class != 0 || egress == 0 { class.into() } else { table.by_default(label).into() }
}
