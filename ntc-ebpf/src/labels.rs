//! `LABELS`: the answers, written by the agent, pinned for everybody. No LRU: which label gives way is the agent's
//! to say, or a flood would.

use aya_ebpf::{btf_maps::HashMap, macros::btf_map};
use ntc_common::{key::FlowKey, label::Label, limits::DEFAULT_MAX_FLOWS};

use crate::shadow;

#[btf_map]
static LABELS: HashMap<FlowKey, Label, { DEFAULT_MAX_FLOWS as usize }> = HashMap::new();

/// The answer for a flow.
#[inline(always)]
pub fn get(key: &FlowKey) -> Option<&'static Label> {
    // SAFETY: an element's memory stays mapped until the program returns. A preallocated element may be reused at
    // once: in the short time in which a label is replaced, another flow's may be read, for one packet.
    unsafe { LABELS.get(key) }
}

/// Ends the label of a flow that is over.
#[inline(always)]
pub fn forget(key: &FlowKey) {
    if get(key).is_some() {
        // Gone already is as good.
        let _ = LABELS.remove(key);
    }
    if shadow::counted() {
        shadow::forget(key);
    }
}
