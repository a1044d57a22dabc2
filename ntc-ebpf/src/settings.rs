//! What the loader decides: constants to the verifier, which drops the branches not taken.

use aya_ebpf::Global;
use ntc_common::flow::FlowRule;

#[unsafe(no_mangle)]
static FLOW_RULE: Global<FlowRule> = Global::new(FlowRule::DEFAULT);

/// [`shadow_flags`](ntc_common::policy::shadow_flags).
#[unsafe(no_mangle)]
static SHADOW: Global<u32> = Global::new(0);

/// Whether and how a shadow is counted.
#[inline(always)]
pub fn shadow() -> u32 {
    SHADOW.load()
}

/// When flows end. In place: a copy would take a tenth of the stack.
#[inline(always)]
pub fn flow_rule() -> &'static FlowRule {
    let mut rule = (&raw const FLOW_RULE).expose_provenance();
    // SAFETY: the empty template changes nothing; after it the compiler no longer knows that this is a static whose
    // initial value it has at hand.
    unsafe { core::arch::asm!("/* {0} */", inout(reg) rule, options(pure, nomem, nostack, preserves_flags)) };
    // SAFETY: a Global is its value, which the loader writes before the program runs, and nobody after it.
    unsafe { &*core::ptr::with_exposed_provenance(rule) }
}
