//! What `cargo xtask bench` measures ntc's programs against. Never part of ntc's own object.
//!
//! `BPF_PROG_TEST_RUN` gives a program the same frame again and again. So that each packet belongs to another flow, the
//! walks write the next flow's address into the frame and tail-call the program under test; `bench_pass` behind the
//! same walk is what the walk itself costs.
#![no_std]
#![no_main]
#![expect(missing_docs, reason = "the program macros make functions without the docs they were given")]
#![expect(
    clippy::needless_borrows_for_generic_args,
    reason = "a key or value passed by value is copied onto a stack of 512 bytes"
)]

#[expect(dead_code, reason = "the reference asks for less than ntc does")]
#[path = "../source.rs"]
mod source;
mod walk;

use aya_ebpf::{
    bindings::{
        __sk_buff, TC_ACT_UNSPEC,
        xdp_action::{XDP_DROP, XDP_PASS, XDP_TX},
    },
    btf_maps::{Array, LruHashMap, PerCpuArray, ProgramArray},
    macros::{btf_map, classifier, xdp},
    programs::{TcContext, XdpContext},
};
use ntc_common::{
    flow::FlowState, key::FlowKey, label::Label, limits::DEFAULT_MAX_FLOWS, link::LinkType, packet::Packet,
    parse::parse,
};

use crate::{
    source::{Skb, XdpBytes},
    walk::Walk,
};

/// The program under test at XDP.
#[btf_map]
static XDP_TARGET: ProgramArray<1> = ProgramArray::new();

/// The program under test at tc.
#[btf_map]
static TC_TARGET: ProgramArray<1> = ProgramArray::new();

#[btf_map]
static WALK: Array<Walk, 1> = Array::new();

#[btf_map]
static FLOWS_REFERENCE: LruHashMap<FlowKey, FlowState, { DEFAULT_MAX_FLOWS as usize }> = LruHashMap::new();

#[btf_map]
static LABELS_REFERENCE: LruHashMap<FlowKey, Label, { DEFAULT_MAX_FLOWS as usize }> = LruHashMap::new();

/// Frames that came to the sink.
#[btf_map]
static ARRIVED: PerCpuArray<u64, 1> = PerCpuArray::new();

/// The frame that the source sends, without its VLAN-less Ethernet/IPv4/TCP payload.
#[btf_map]
static HEADER: Array<[u8; HEADER_LEN], 1> = Array::new();

/// Room for what is too large for BPF's stack of 512 bytes.
struct Room {
    packet: Packet,
    state: FlowState,
}

#[btf_map]
static ROOM: PerCpuArray<Room, 1> = PerCpuArray::new();

/// Ethernet, IPv4 and TCP without options.
const HEADER_LEN: usize = 54;
/// Place of the IPv4 header checksum.
const CHECKSUM: usize = 24;
/// Place of the IPv4 source address.
const SOURCE_ADDRESS: usize = 26;
/// Flow 0 is sent from 10.0.0.0.
const FIRST_ADDRESS: u32 = 0x0a00_0000;

#[inline(always)]
fn address() -> Option<u32> {
    let walk = WALK.get_ptr_mut(0)?;
    // SAFETY: the slot lives as long as the map, and a benchmark runs on one CPU at a time.
    Some(FIRST_ADDRESS.wrapping_add(unsafe { &mut *walk }.step()))
}

#[inline(always)]
fn room() -> Option<&'static mut Room> {
    let room = ROOM.get_ptr_mut(0)?;
    // SAFETY: zeroes are a value of every field; the slot is this CPU's own.
    Some(unsafe { &mut *room })
}

/// Gives the frame to the next flow and goes on with the program under test.
#[xdp(frags)]
pub fn bench_walk_xdp(ctx: XdpContext) -> u32 {
    let Some(address) = address() else { return XDP_DROP };
    let at = ctx.data() + SOURCE_ADDRESS;
    if at + 4 > ctx.data_end() {
        return XDP_DROP;
    }
    // SAFETY: the comparison above shows that the four bytes lie in the frame.
    unsafe { (at as *mut u32).write_unaligned(address.to_be()) };
    // SAFETY: nothing here is to be dropped.
    unsafe { XDP_TARGET.tail_call(&ctx, 0) };
    XDP_DROP
}

/// Does nothing: the floor.
#[xdp(frags)]
pub fn bench_pass(_ctx: XdpContext) -> u32 {
    XDP_PASS
}

/// Parses and looks the flow up in an LRU hash: what no flow monitor of that design can do without.
#[xdp(frags)]
pub fn bench_reference(ctx: XdpContext) -> u32 {
    let Some(room) = room() else { return XDP_DROP };
    if parse(&XdpBytes::new(&ctx), LinkType::Ethernet, &mut room.packet).is_err() {
        return XDP_DROP;
    }
    // SAFETY: only the pointer is looked at.
    if unsafe { FLOWS_REFERENCE.get(&room.packet.key) }.is_some() { XDP_PASS } else { XDP_DROP }
}

/// Puts the flow into the reference's table.
#[xdp(frags)]
pub fn bench_fill(ctx: XdpContext) -> u32 {
    let Some(room) = room() else { return XDP_DROP };
    if parse(&XdpBytes::new(&ctx), LinkType::Ethernet, &mut room.packet).is_err() {
        return XDP_DROP;
    }
    room.state = FlowState::begin(&room.packet, 0, 0);
    if FLOWS_REFERENCE.insert(&room.packet.key, &room.state, 0).is_ok() { XDP_PASS } else { XDP_DROP }
}

/// As `bench_walk_xdp`.
#[classifier]
pub fn bench_walk_tc(ctx: TcContext) -> i32 {
    let Some(address) = address() else { return TC_ACT_UNSPEC };
    let at = ctx.data() + SOURCE_ADDRESS;
    if at + 4 > ctx.data_end() {
        return TC_ACT_UNSPEC;
    }
    // SAFETY: the comparison above shows that the four bytes lie in the frame.
    unsafe { (at as *mut u32).write_unaligned(address.to_be()) };
    // SAFETY: nothing here is to be dropped.
    unsafe { TC_TARGET.tail_call(&ctx, 0) };
    TC_ACT_UNSPEC
}

/// The floor at tc.
#[classifier]
pub fn bench_pass_tc(_ctx: TcContext) -> i32 {
    TC_ACT_UNSPEC
}

/// Parses, looks the label up and sets the priority: the least that enforcement at tc is.
#[classifier]
pub fn bench_reference_tc(ctx: TcContext) -> i32 {
    let Some(room) = room() else { return TC_ACT_UNSPEC };
    if parse(&Skb::new(&ctx), LinkType::Ethernet, &mut room.packet).is_err() {
        return TC_ACT_UNSPEC;
    }
    // SAFETY: one word is read of a value that nobody changes meanwhile.
    if let Some(label) = unsafe { LABELS_REFERENCE.get(&room.packet.key) } {
        let skb: *mut __sk_buff = ctx.skb.skb;
        // SAFETY: the context of the running program; tc programs may write the priority.
        unsafe { (*skb).priority = label.service.into() };
    }
    TC_ACT_UNSPEC
}

/// Sends live frames out of the interface that they seem to have come in on. The kernel hands a frame out again as its
/// last receiver left it, so all of the header is written anew.
#[xdp]
pub fn bench_source(ctx: XdpContext) -> u32 {
    let (Some(address), Some(header)) = (address(), HEADER.get(0)) else { return XDP_DROP };
    let at = ctx.data();
    if at + HEADER_LEN > ctx.data_end() {
        return XDP_DROP;
    }
    // SAFETY: the comparison above shows that the header lies in the frame.
    let frame = unsafe { &mut *(at as *mut [u8; HEADER_LEN]) };
    *frame = *header;
    frame[SOURCE_ADDRESS..SOURCE_ADDRESS + 4].copy_from_slice(&address.to_be_bytes());
    // The header has the sum over all but the address (RFC 1071).
    let sum = u32::from(u16::from_be_bytes([header[CHECKSUM], header[CHECKSUM + 1]]))
        + (address >> 16)
        + (address & 0xffff);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    frame[CHECKSUM..CHECKSUM + 2].copy_from_slice(&sum.to_be_bytes());
    XDP_TX
}

/// Counts frames and drops them.
#[xdp(frags)]
pub fn bench_sink(_ctx: XdpContext) -> u32 {
    if let Some(count) = ARRIVED.get_ptr_mut(0) {
        // SAFETY: this CPU's own slot.
        unsafe { *count += 1 };
    }
    XDP_DROP
}

/// GPL for the helpers that ask for it, as ntc's own object.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // Never reached: the verifier would refuse a program that could come here.
    loop {}
}
