//! `WITNESS`: which program ran on which interface since the agent last looked. An attach can succeed and its program
//! never run, as when another program on the hook has the last word before it.

/// Words, one for each interface index modulo this. Two interfaces may share one: then neither is found silent while the
/// other's program runs.
pub const SLOTS: u32 = 1024;

/// The XDP program ran.
pub const XDP: u32 = 1;
/// The program at tc ingress ran.
pub const TC_INGRESS: u32 = 2;
/// The program at tc egress ran.
pub const TC_EGRESS: u32 = 4;

/// The word of an interface.
#[inline(always)]
pub const fn slot(ifindex: u32) -> u32 {
    ifindex % SLOTS
}
