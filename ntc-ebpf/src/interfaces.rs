//! `INTERFACES`: what ntc does on which interface. Written by the agent.

use aya_ebpf::{btf_maps::HashMap, macros::btf_map};
use ntc_common::{
    limits::MAX_INTERFACES,
    policy::interface_flags::{CAPTURED, CAPTURED_BELOW},
};

#[btf_map]
static INTERFACES: HashMap<u32, u32, { MAX_INTERFACES as usize }> = HashMap::new();

/// [`interface_flags`](ntc_common::policy::interface_flags) of an interface; 0 for one that is not ours.
#[inline(always)]
pub fn flags(ifindex: u32) -> u32 {
    // SAFETY: values are single words, read whole.
    unsafe { INTERFACES.get(&ifindex) }.map_or(0, |flags| *flags)
}

/// Each packet once: at egress only what no captured interface saw come in, so made here (0) or come from
/// elsewhere.
#[inline(always)]
pub fn accounts_at_egress(flags: u32, ingress_ifindex: u32) -> bool {
    flags & CAPTURED != 0
        && (ingress_ifindex == 0 || self::flags(ingress_ifindex) & (CAPTURED | CAPTURED_BELOW) == 0)
}
