//! `FLOW_SETS`, `FLOWS`, `FLOW_HASH`: the live flows, by the rules of [`ntc_common::table`].

use aya_ebpf::{
    btf_maps::Array,
    helpers::{bpf_ktime_get_coarse_ns, bpf_ktime_get_ns},
    macros::btf_map,
};
use ntc_common::{
    flow::{FlowRule, FlowState, flow_flags},
    limits::{DEFAULT_MAX_FLOWS, FLOW_WAYS},
    table::{self, Begun, FlowHash, FlowSet, FlowSlot, Memory, sets_for},
};

use crate::{
    labels, ledger, packets,
    scratch::{self, Scratch},
    settings, words,
    words::Shared,
};

/// User space reads (and frees) flows in place; and such an array begins at a page, so that sets and slots lie on
/// whole cache lines.
const MAPPED: usize = aya_ebpf::bindings::BPF_F_MMAPABLE as usize;
const SETS: usize = sets_for(DEFAULT_MAX_FLOWS) as usize;

#[btf_map]
static FLOW_SETS: Array<FlowSet, SETS, MAPPED> = Array::new();

#[btf_map]
static FLOWS: Array<FlowSlot, { SETS * FLOW_WAYS }, MAPPED> = Array::new();

#[btf_map]
static FLOW_HASH: Array<FlowHash, 1> = Array::new();

/// The kernel's arrays as the table's memory.
struct Maps;

impl Memory for Maps {
    #[inline(always)]
    fn set(&self, index: u32) -> Option<*mut FlowSet> {
        FLOW_SETS.get_ptr_mut(index)
    }

    #[inline(always)]
    fn slot(&self, index: u32) -> Option<*mut FlowSlot> {
        FLOWS.get_ptr_mut(index)
    }

    #[inline(always)]
    fn worth(&self, slot: u32, now_ns: u64, _: &FlowRule) -> u64 {
        ntc_worth(slot, now_ns)
    }

    #[inline(always)]
    unsafe fn replace(&self, word: *mut u32, old: u32, new: u32) -> bool {
        // SAFETY: the caller's word is in a map value: live and aligned.
        unsafe { words::replace(word, old, new) }
    }

    #[inline(always)]
    unsafe fn publish(&self, word: *mut u32, new: u32) {
        // SAFETY: as above.
        unsafe { words::publish(word, new) };
    }
}

/// Which way a flow's packet went.
pub enum Fate {
    /// Into the ring: so many wire packets; the sequence had no place for the others.
    Recorded(u64),
    /// The sequence is full already.
    Gated,
    /// The ring was full, for so many wire packets.
    RingFull(u64),
    /// The table took no new flow.
    TableFull,
}

/// Finds or begins the scratch packet's flow and accounts the packet to it.
#[inline(always)]
pub fn account(scratch: &mut Scratch, ifindex: u32) -> Fate {
    let Scratch { packet, place, .. } = scratch;
    let Some(hash) = FLOW_HASH.get(0) else { return Fate::TableFull };
    *place = hash.place(&packet.key);
    let rule = settings::flow_rule();
    let mut known = table::find(&Maps, place, &packet.key).map(|(slot, _)| live(slot));
    let mut now_ns = 0;
    let mut over = false;
    if let Some(state) = &known {
        // Of a flow whose sequence is full only its end hangs on the time, and that in seconds.
        now_ns = if state.sequence < rule.sequence_length { precise_ns() } else { coarse_ns() };
        over = state.ended_before(packet, now_ns, rule).is_some();
    }
    if over || known.is_none() {
        now_ns = precise_ns();
        known = FLOWS.get_ptr_mut(ntc_begin_flow(now_ns, over.into(), ifindex)).map(live);
    }
    let Some(state) = known else { return Fate::TableFull };
    let step = state.account::<Shared>(packet, now_ns, rule);
    let Some(index) = step.index else { return Fate::Gated };
    let places = u64::from(step.places);
    let completes = u64::from(index) + places == rule.sequence_length;
    if packets::send(completes, || state.record(packet, &step, index, now_ns, ifindex)) {
        Fate::Recorded(places)
    } else {
        Fate::RingFull(places)
    }
}

#[inline(always)]
fn live(slot: *mut FlowSlot) -> &'static mut FlowState {
    // SAFETY: map values stay until the map goes, and the map outlives the program. Other CPUs may change this one:
    // words that must not be lost are changed atomically, and the others (latest time, close) tolerate that the last
    // writer wins. If the slot was given to another flow in just this time, one packet is accounted to that.
    unsafe { &mut (*slot).state }
}

/// Begins the scratch packet's flow in place of one that is over (`over` is 1) or where there is none. Returns the
/// index of its slot, or a number that is beyond the table.
///
/// A global function: the verifier looks at it once, not again for every way on which a packet comes here.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn ntc_begin_flow(now_ns: u64, over: u64, ifindex: u32) -> u32 {
    const NOWHERE: u32 = u32::MAX;
    let (Some(ledger), Some(scratch)) = (ledger::this_cpu(), scratch::this_cpu()) else { return NOWHERE };
    let Scratch { packet, place, fresh, .. } = scratch;
    let rule = settings::flow_rule();
    *fresh = FlowState::begin(packet, now_ns, ifindex);
    let remembered = if over != 0 || packet.opens() { None } else { labels::get(&packet.key) };
    if let Some(label) = remembered {
        // It gave way while its label lived: it is the flow that the label names.
        fresh.resume(rule);
        fresh.start_ns = label.start_ns;
    } else {
        labels::forget(&packet.key);
        if packets::crowded() {
            fresh.shed(rule);
        }
    }
    match table::begin(&Maps, place, packet, fresh, now_ns, rule) {
        Begun::New(index) => {
            if fresh.flags & flow_flags::RESUMED != 0 {
                ledger.resumed_flows += 1;
            } else {
                ledger.new_flows += 1;
            }
            if fresh.flags & flow_flags::SHED != 0 {
                ledger.shed_flows += 1;
            }
            index
        }
        Begun::Joined(index) => index,
        Begun::Full => NOWHERE,
    }
}

/// What keeps the flow at a slot its place. A global function, too.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn ntc_worth(slot: u32, now_ns: u64) -> u64 {
    table::worth(&Maps, slot, now_ns, settings::flow_rule())
}

#[inline(always)]
fn precise_ns() -> u64 {
    // SAFETY: the helper takes no argument and only reads a clock.
    unsafe { bpf_ktime_get_ns() }
}

/// The same clock as of the latest timer tick: half the price.
#[inline(always)]
fn coarse_ns() -> u64 {
    // SAFETY: as above.
    unsafe { bpf_ktime_get_coarse_ns() }
}
