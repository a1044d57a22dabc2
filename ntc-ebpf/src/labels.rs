//! `LABELS`: the answers, written by the agent, pinned for everybody.

use aya_ebpf::{btf_maps::LruHashMap, macros::btf_map};
use ntc_common::{key::FlowKey, label::Label, limits::DEFAULT_MAX_FLOWS};

#[btf_map]
static LABELS: LruHashMap<FlowKey, Label, { DEFAULT_MAX_FLOWS as usize }> = LruHashMap::new();

/// The answer for a flow.
#[inline(always)]
pub fn get(key: &FlowKey) -> Option<&'static Label> {
    // SAFETY: elements stay readable until the program returns; a label that is replaced meanwhile is a
    // new element, so none is seen half written.
    unsafe { LABELS.get(key) }
}

/// Whether a flow has an answer.
#[inline(always)]
pub fn is_set(key: &FlowKey) -> bool {
    get(key).is_some()
}

/// Ends the label of a flow that is over.
#[inline(always)]
pub fn forget(key: &FlowKey) {
    if is_set(key) {
        // Gone already is as good.
        let _ = LABELS.remove(key);
    }
}
