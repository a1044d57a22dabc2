//! What the loader decides: constants to the verifier, which drops the branches not taken.

use aya_ebpf::Global;
use ntc_common::{flow::FlowRule, policy::MARK_MASK_DEFAULT};

#[unsafe(no_mangle)]
static FLOW_RULE: Global<FlowRule> = Global::new(FlowRule::DEFAULT);

#[unsafe(no_mangle)]
static MARK_MASK: Global<u32> = Global::new(MARK_MASK_DEFAULT);

/// When flows end.
#[inline(always)]
pub fn flow_rule() -> FlowRule {
    FLOW_RULE.load()
}

/// The bits of `skb->mark` that are ntc's.
#[inline(always)]
pub fn mark_mask() -> u32 {
    MARK_MASK.load()
}
