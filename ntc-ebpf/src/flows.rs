//! `FLOWS`: the live flows. Bounded, least recently used first out.

use aya_ebpf::{
    bindings::{BPF_ANY, BPF_NOEXIST},
    btf_maps::LruHashMap,
    macros::btf_map,
};
use ntc_common::{
    flow::{FlowRule, FlowState},
    key::FlowKey,
    ledger::Ledger,
    limits::DEFAULT_MAX_FLOWS,
    packet::Packet,
};

use crate::{labels, packets, settings, words::Shared};

#[btf_map]
static FLOWS: LruHashMap<FlowKey, FlowState, { DEFAULT_MAX_FLOWS as usize }> = LruHashMap::new();

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

/// Finds or begins the packet's flow and accounts the packet to it.
#[inline(always)]
pub fn account(
    packet: &Packet,
    fresh: &mut FlowState,
    now_ns: u64,
    ifindex: u32,
    ledger: &mut Ledger,
) -> Fate {
    let rule = settings::flow_rule();
    let mut known = live(&packet.key);
    let over = match &known {
        Some(state) => state.ended_before(packet, now_ns, &rule).is_some(),
        None => false,
    };
    if over || known.is_none() {
        begin(packet, fresh, over, now_ns, &rule, ledger);
        // Looked up again, so that there is one way on, and the right one if another CPU was first.
        known = live(&packet.key);
    }
    let Some(state) = known else { return Fate::TableFull };
    let step = state.account::<Shared>(packet, now_ns, &rule);
    let Some(index) = step.index else { return Fate::Gated };
    let places = u64::from(step.places);
    let completes = u64::from(index) + places == rule.sequence_length || step.closes.is_some();
    if packets::send(completes, || state.record(packet, &step, index, now_ns, ifindex)) {
        Fate::Recorded(places)
    } else {
        Fate::RingFull(places)
    }
}

#[inline(always)]
fn live(key: &FlowKey) -> Option<&'static mut FlowState> {
    let state = FLOWS.get_ptr_mut(key)?;
    // SAFETY: the value's memory stays mapped until the program returns (preallocated elements). Another CPU may
    // change it: words that must not be lost are changed atomically, and the others (latest time, close)
    // tolerate that the last writer wins. An element that is evicted in just this time is reused at once: then
    // one packet is accounted to a flow that is not its own.
    Some(unsafe { &mut *state })
}

/// Puts a new flow into the table, in place of one that is over or where there is none.
#[inline(always)]
fn begin(
    packet: &Packet,
    fresh: &mut FlowState,
    over: bool,
    now_ns: u64,
    rule: &FlowRule,
    ledger: &mut Ledger,
) {
    *fresh = FlowState::begin(packet, now_ns);
    let remembered = if over || packet.opens() { None } else { labels::get(&packet.key) };
    if let Some(label) = remembered {
        // Evicted while its label lived: it is the flow that the label names.
        fresh.resume(rule);
        fresh.start_ns = label.start_ns;
    } else {
        labels::forget(&packet.key);
    }
    // A flow that is over is replaced as a whole; two CPUs that find it over at once both replace it, and the
    // second begins it anew. Where there was none and another CPU was first, the packet joins that CPU's flow.
    let flags = if over { BPF_ANY } else { BPF_NOEXIST };
    if FLOWS.insert(&packet.key, &*fresh, flags.into()).is_ok() {
        if remembered.is_some() {
            ledger.resumed_flows += 1;
        } else {
            ledger.new_flows += 1;
        }
    }
}
