//! ntc's kernel programs: glue between the hooks and [`ntc_common`], which knows what a packet and a flow
//! are. Nothing here knows a protocol.
//!
//! ```text
//!             +--------- capture ---------------------------+      +------ enforce -------------+
//!  ntc_xdp -> source -> parse -> flows (FLOWS) -> packets (PACKETS, ring) --> the agent
//!                         |         |                                            |
//!                         +-------- ledger (LEDGER)            labels (LABELS) <-+
//!                                                                   |
//!  ntc_tc_ingress -> source -> parse -> labels -> policy -> mark, DSCP
//!  ntc_tc_egress  -> source -> parse -> labels -> policy -> mark, DSCP, priority
//! ```
//!
//! Every program lets every packet pass: ntc tells and marks. It drops what the operator's policy says, and nothing else.
#![no_std]
#![no_main]
#![feature(core_intrinsics, asm_experimental_arch)]
#![expect(missing_docs, reason = "the program macros make functions without the docs they were given")]
#![expect(internal_features, reason = "BPF's target has no atomic read-modify-write types; see words.rs")]
#![expect(
    clippy::needless_borrows_for_generic_args,
    reason = "a key or value passed by value is copied onto a stack of 512 bytes"
)]

mod capture;
mod dscp;
mod enforce;
mod flows;
mod heartbeat;
mod interfaces;
mod labels;
mod ledger;
mod packets;
mod parser;
mod policy;
mod rules;
mod scratch;
mod settings;
mod shadow;
mod source;
mod witness;
mod words;

use aya_ebpf::{
    bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC, xdp_action::XDP_PASS},
    macros::{classifier, socket_filter, xdp},
    programs::{SkBuffContext, TcContext, XdpContext},
};
use ntc_common::{
    policy::interface_flags,
    witness::{TC_EGRESS, TC_INGRESS, XDP},
};

use crate::source::{Skb, XdpBytes};

/// Accounts packets that come in on a captured interface. `frags`: a large MTU would refuse it otherwise.
#[xdp(frags)]
pub fn ntc_xdp(ctx: XdpContext) -> u32 {
    let ifindex = ctx.ingress_ifindex() as u32;
    witness::ran(ifindex, XDP);
    let outcome = capture::packet(&XdpBytes::new(&ctx), 0, ifindex);
    log(&ctx, outcome);
    XDP_PASS
}

/// Marks incoming packets by their flow's label; accounts them where XDP cannot.
#[classifier]
pub fn ntc_tc_ingress(ctx: TcContext) -> i32 {
    let skb = Skb::new(&ctx);
    let (ifindex, flags) = (skb.ifindex(), interfaces::flags(skb.ifindex()));
    witness::ran(ifindex, TC_INGRESS);
    if flags & interface_flags::CAPTURED_AT_TC != 0 {
        log(&ctx, capture::packet(&skb, raw_ip(flags), ifindex));
    }
    if flags & interface_flags::ENFORCED != 0 && enforce::ingress(&skb, raw_ip(flags), flags) {
        return TC_ACT_SHOT;
    }
    // Other programs on the hook have their say.
    TC_ACT_UNSPEC
}

/// Gives outgoing packets their class; accounts those that no captured interface saw come in.
#[classifier]
pub fn ntc_tc_egress(ctx: TcContext) -> i32 {
    let skb = Skb::new(&ctx);
    let (ifindex, flags) = (skb.ifindex(), interfaces::flags(skb.ifindex()));
    witness::ran(ifindex, TC_EGRESS);
    if interfaces::accounts_at_egress(flags, skb.ingress_ifindex()) {
        log(&ctx, capture::packet(&skb, raw_ip(flags), ifindex));
    }
    if flags & interface_flags::ENFORCED != 0 && enforce::egress(&skb, raw_ip(flags), flags) {
        return TC_ACT_SHOT;
    }
    TC_ACT_UNSPEC
}

/// Not 0 if packets begin with the IP header on an interface with these flags. A number all the way, not a branch: what
/// follows would be verified once for each.
#[inline(always)]
const fn raw_ip(flags: u32) -> u32 {
    flags & interface_flags::NO_LINK_HEADER
}

/// Moves the deadline of all labels. The agent runs it once a second by `BPF_PROG_TEST_RUN`, since only the
/// kernel can read jiffies; the data is their number, 8 bytes little-endian, behind an Ethernet header.
#[socket_filter]
pub fn ntc_heartbeat(ctx: SkBuffContext) -> i64 {
    let jiffies = ctx.load::<[u8; 8]>(0).map_or(0, u64::from_le_bytes);
    heartbeat::extend(jiffies);
    0
}

#[cfg(feature = "log")]
#[inline(always)]
fn log<C: aya_ebpf::EbpfContext>(ctx: &C, outcome: u32) {
    aya_log_ebpf::debug!(ctx, "packet: outcome {}", outcome);
}

#[cfg(not(feature = "log"))]
#[inline(always)]
const fn log<C>(_: &C, _: u32) {}

/// MIT OR Apache-2.0 as all of ntc, and GPL for the helpers that ask for it.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // Never reached: the verifier would refuse a program that could come here.
    loop {}
}
