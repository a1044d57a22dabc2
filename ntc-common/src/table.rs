//! The flow table: where a flow stands, and which one gives way when there is no room.
//!
//! Two arrays instead of one of the kernel's hash maps, because what a packet pays is cache misses, and what a
//! flood takes is other flows' places:
//!
//! ```text
//!  FLOW_SETS   | lock | tag | tag | tag | tag | tag | tag | tag |      32 bytes: two sets a cache line
//!                        |
//!  FLOWS       | key, start, close, VLAN | latest, places, counters |  128 bytes: two neighbouring lines
//! ```
//!
//! A flow stands in one of the seven ways of its home set or of its other set (two-choice hashing, Azar et al.,
//! "Balanced Allocations", STOC 1994), in the one that its hash names if that was free. The tag tells which way without
//! touching the slots. Who finds no free way takes the place of the flow that is worth least, and none at all if all are
//! worth more: see [`FlowState::standing`].
//!
//! Look-ups take no lock. A flow begins under the lock of its home set, so that two CPUs that see its first
//! packets begin it once. A way is taken by compare-and-exchange of its tag, since it may belong to two homes.

use crate::{
    flow::{FlowRule, FlowState, Standing},
    key::FlowKey,
    limits::FLOW_WAYS,
    packet::Packet,
};

/// No flow stands here.
pub const FREE: u32 = 0;
/// A flow is about to stand here.
pub const CLAIMED: u32 = 1;
/// So often a CPU tries to get a set's lock. It is held for less than a microsecond.
const LOCK_TRIES: u32 = 64;
/// A complete flow gives way only when it has been silent for so long.
const QUIET_NS: u64 = 30_000_000_000;

shared_struct! {
    /// A set of the flow table: value of the pinned array `FLOW_SETS`. Its ways are the slots of `FLOWS` from
    /// seven times its index on.
    pub struct FlowSet: 32 {
        /// 1 while a flow begins whose home this is.
        pub lock: u32,
        /// By way: 0 free, 1 claimed, else the hash of the key that stands there.
        pub tags: [u32; FLOW_WAYS],
    }
}

shared_struct! {
    /// A place for a flow: value of the pinned array `FLOWS`. It holds one only if its tag is above 1.
    pub struct FlowSlot: 128 {
        /// Which flow.
        pub key: FlowKey,
        /// What is known of it.
        pub state: FlowState,
        /// Always 0: fills two cache lines.
        pub reserved: u64,
    }
}

shared_struct! {
    /// How keys find their sets: the one slot of the pinned array `FLOW_HASH`, written before the first packet and
    /// never again. The keys are secret to who sends packets: nobody outside can aim at a set.
    pub struct FlowHash: 88 {
        /// Random, one for each 32-bit word of a key.
        pub keys: [u64; KEY_WORDS],
        /// Sets in the table.
        pub sets: u64,
    }
}

const KEY_WORDS: usize = size_of::<FlowKey>() / size_of::<u32>();
/// The third word of an IPv4-mapped address, as memory has it.
const MAPPED: u32 = u32::from_ne_bytes([0, 0, 0xff, 0xff]);

/// Where a key may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its first set, whose lock it takes.
    pub home: u32,
    /// Its second.
    pub other: u32,
    /// The way that it takes in either if that is free.
    pub way: u32,
    /// Its tag in either: 31 bits.
    pub tag: u32,
}

/// Sets for a table that holds `max_flows` with next to none turned away: a quarter more ways than flows.
pub const fn sets_for(max_flows: u32) -> u32 {
    (max_flows as u64 * 5 / 4).div_ceil(FLOW_WAYS as u64) as u32 + 1
}

impl FlowHash {
    /// Where `key` may stand.
    #[inline(always)]
    pub fn place(&self, key: &FlowKey) -> Place {
        // Multilinear hashing (Lemire and Kaser 2014): strongly universal in its upper half, and its products do
        // not wait for each other.
        let words = core::ptr::from_ref(key).cast::<u32>();
        let term = |index: usize| {
            // SAFETY: a key is KEY_WORDS words of plain bytes; the read asks for no alignment.
            let word = unsafe { words.add(index).read_unaligned() };
            self.keys[index].wrapping_mul(u64::from(word))
        };
        let mut sum = 0u64;
        if key.ip_version == 4 {
            // The same sum with half of the products: an IPv4-mapped address is 0, 0, ::ffff and the address.
            sum = self.keys[2].wrapping_add(self.keys[6]).wrapping_mul(u64::from(MAPPED));
            for index in [3, 7, 8, 9] {
                sum = sum.wrapping_add(term(index));
            }
        } else {
            for index in 0..KEY_WORDS {
                sum = sum.wrapping_add(term(index));
            }
        }
        sum ^= sum >> 32;
        sum = sum.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        sum ^= sum >> 29;
        let low = sum as u32 >> 1;
        let scaled = |hash: u32| ((u64::from(hash) * self.sets) >> 32) as u32;
        Place {
            home: scaled((sum >> 32) as u32),
            other: scaled(low.wrapping_mul(0x85eb_ca6b)),
            way: ((u64::from(low) * FLOW_WAYS as u64) >> 31) as u32,
            tag: if low <= CLAIMED { low + 2 } else { low },
        }
    }
}

/// The arrays behind a table, and the atomic operations on their words.
pub trait Memory {
    /// A set; `None` beyond the table.
    fn set(&self, index: u32) -> Option<*mut FlowSet>;
    /// A slot; `None` beyond the table.
    fn slot(&self, index: u32) -> Option<*mut FlowSlot>;
    /// [`worth`] of the flow at a slot. The kernel's way to it is a function that the verifier looks at once, not
    /// once for each way and all that it may have found in the ways before.
    fn worth(&self, slot: u32, now_ns: u64, rule: &FlowRule) -> u64;
    /// Puts `new` in place of `old`; `false` if something else was there.
    ///
    /// # Safety
    /// `word` is in a set of this memory.
    unsafe fn replace(&self, word: *mut u32, old: u32, new: u32) -> bool;
    /// Puts `new` there, after all writes before.
    ///
    /// # Safety
    /// `word` is in a set of this memory.
    unsafe fn publish(&self, word: *mut u32, new: u32);
}

/// What came of beginning a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// It stands at the slot with this index.
    New(u32),
    /// Another CPU was first: at this slot.
    Joined(u32),
    /// There was no room that was not worth more to others.
    Full,
}

/// The slot at which `key` stands, and its index.
#[inline(always)]
pub fn find<M: Memory>(memory: &M, place: &Place, key: &FlowKey) -> Option<(*mut FlowSlot, u32)> {
    // Most flows stand where they would best. Which slot that is does not hang on what the set says, so that a
    // processor fetches both at once; the way that a search finds is one that it cannot foresee.
    let home = memory.set(place.home)?;
    if tag_at(home, place.way) == place.tag
        && let Some(found) = at(memory, place.home, place.way, key)
    {
        return Some(found);
    }
    match find_in(memory, place.home, place.tag, key) {
        Some(found) => Some(found),
        None => find_in(memory, place.other, place.tag, key),
    }
}

#[inline(always)]
fn find_in<M: Memory>(memory: &M, set: u32, tag: u32, key: &FlowKey) -> Option<(*mut FlowSlot, u32)> {
    at(memory, set, way_of(memory.set(set)?, tag)?, key)
}

/// The slot at a way, if `key` stands there.
#[inline(always)]
fn at<M: Memory>(memory: &M, set: u32, way: u32, key: &FlowKey) -> Option<(*mut FlowSlot, u32)> {
    let index = set * FLOW_WAYS as u32 + way;
    let slot = memory.slot(index)?;
    // SAFETY: slots are plain memory of the table. One that is being filled may be read half: then the key does
    // not match, or it does and the flow is there.
    if unsafe { (*slot).key == *key } { Some((slot, index)) } else { None }
}

/// The way that bears `tag`.
#[inline(always)]
fn way_of(set: *mut FlowSet, tag: u32) -> Option<u32> {
    for way in 0..FLOW_WAYS {
        // SAFETY: as in `find_in`; volatile, since other CPUs write.
        if unsafe { (&raw const (*set).tags[way]).read_volatile() } == tag {
            return Some(way as u32);
        }
    }
    None
}

/// Begins the packet's flow as `fresh` where there is none or one that is over.
#[inline(always)]
pub fn begin<M: Memory>(
    memory: &M,
    place: &Place,
    packet: &Packet,
    fresh: &FlowState,
    now_ns: u64,
    rule: &FlowRule,
) -> Begun {
    let Some(home) = memory.set(place.home) else { return Begun::Full };
    // SAFETY: a set's own word.
    let lock = unsafe { &raw mut (*home).lock };
    if !locked(memory, lock) {
        return Begun::Full;
    }
    let begun = match find(memory, place, &packet.key) {
        Some((slot, index)) => {
            // SAFETY: as in `find_in`; nobody else begins a flow of this home now.
            let state = unsafe { &mut (*slot).state };
            if state.ended_before(packet, now_ns, rule).is_some() {
                *state = *fresh;
                Begun::New(index)
            } else {
                Begun::Joined(index)
            }
        }
        None => put(memory, place, &packet.key, fresh, now_ns, rule),
    };
    // SAFETY: a set's own word.
    unsafe { memory.publish(lock, 0) };
    begun
}

#[inline(always)]
fn locked<M: Memory>(memory: &M, lock: *mut u32) -> bool {
    for _ in 0..LOCK_TRIES {
        // SAFETY: the caller's lock is a set's word.
        if unsafe { memory.replace(lock, 0, 1) } {
            return true;
        }
    }
    false
}

/// Puts a flow where there is room, or where there is one that is worth less.
#[inline(always)]
fn put<M: Memory>(
    memory: &M,
    place: &Place,
    key: &FlowKey,
    fresh: &FlowState,
    now_ns: u64,
    rule: &FlowRule,
) -> Begun {
    let Some(way) = room(memory, place).or_else(|| least(memory, place, now_ns, rule)) else {
        return Begun::Full;
    };
    let index = way.set * FLOW_WAYS as u32 + way.way;
    let (Some(set), Some(slot)) = (memory.set(way.set), memory.slot(index)) else { return Begun::Full };
    // Its own arithmetic: the verifier does not follow an index into the middle of a value.
    let Some(tag) = tag_word(set, way.way) else { return Begun::Full };
    // SAFETY: `tag` is a word of a set.
    if !unsafe { memory.replace(tag, way.tag, CLAIMED) } {
        // A flow of another home was put here in the meantime.
        return Begun::Full;
    }
    // SAFETY: the claim makes the slot this CPU's, but for packets of the flow that stood here whose look-up
    // is already behind them.
    unsafe {
        (*slot).key = *key;
        (*slot).state = *fresh;
        memory.publish(tag, place.tag);
    }
    Begun::New(index)
}

#[derive(Clone, Copy)]
struct Way {
    set: u32,
    way: u32,
    /// What stands there now.
    tag: u32,
}

/// What stands at a way; [`CLAIMED`] beyond the last.
#[inline(always)]
fn tag_at(set: *mut FlowSet, way: u32) -> u32 {
    match tag_word(set, way) {
        // SAFETY: a set's own word; volatile, since other CPUs write.
        Some(word) => unsafe { word.read_volatile() },
        None => CLAIMED,
    }
}

#[inline(always)]
fn tag_word(set: *mut FlowSet, way: u32) -> Option<*mut u32> {
    if way >= FLOW_WAYS as u32 {
        return None;
    }
    // SAFETY: within the set's tags.
    Some(unsafe { (&raw mut (*set).tags).cast::<u32>().add(way as usize) })
}

/// A free way. Home is filled up to its last two, so that most flows are found there; then the emptier set takes it.
#[inline(always)]
fn room<M: Memory>(memory: &M, place: &Place) -> Option<Way> {
    let (home, other) = (memory.set(place.home)?, memory.set(place.other)?);
    // Another key with this one's tag makes room first: two with one tag would hide each other.
    if let Some(way) = way_of(home, place.tag) {
        return Some(Way { set: place.home, way, tag: place.tag });
    }
    if let Some(way) = way_of(other, place.tag) {
        return Some(Way { set: place.other, way, tag: place.tag });
    }
    let (at_home, elsewhere) = (free(home), free(other));
    let (index, set) =
        if at_home > 2 || at_home >= elsewhere { (place.home, home) } else { (place.other, other) };
    let way = if tag_at(set, place.way) == FREE { place.way } else { way_of(set, FREE)? };
    Some(Way { set: index, way, tag: FREE })
}

/// Free ways of a set.
#[inline(always)]
fn free(set: *mut FlowSet) -> u32 {
    let mut count = 0;
    for way in 0..FLOW_WAYS {
        // SAFETY: a set's own word; volatile, since other CPUs write.
        let tag = unsafe { (&raw const (*set).tags[way]).read_volatile() };
        // 1 for 0, as tags have 31 bits. No comparison: the verifier would follow both outcomes of all fourteen.
        count += tag.wrapping_sub(1) >> 31;
    }
    count
}

/// The way whose flow is worth least, if it may go.
#[inline(always)]
fn least<M: Memory>(memory: &M, place: &Place, now_ns: u64, rule: &FlowRule) -> Option<Way> {
    let mut best = u64::MAX;
    let mut chosen = Way { set: place.home, way: 0, tag: FREE };
    for side in 0..2 {
        let index = if side == 0 { place.home } else { place.other };
        let set = memory.set(index)?;
        for way in 0..FLOW_WAYS {
            // SAFETY: a set's own word; volatile, since other CPUs write.
            let tag = unsafe { (&raw const (*set).tags[way]).read_volatile() };
            let worth = memory.worth(index * FLOW_WAYS as u32 + way as u32, now_ns, rule);
            if tag != CLAIMED && worth < best {
                best = worth;
                chosen = Way { set: index, way: way as u32, tag };
            }
        }
    }
    if best == u64::MAX { None } else { Some(chosen) }
}

/// What keeps the flow at a slot its place, as a number: standing first, then how lately a packet came. `u64::MAX`:
/// it stays.
#[inline(always)]
pub fn worth<M: Memory>(memory: &M, slot: u32, now_ns: u64, rule: &FlowRule) -> u64 {
    let Some(slot) = memory.slot(slot) else { return u64::MAX };
    // SAFETY: slots are plain memory of the table; one that is being changed may be judged wrongly, once.
    let (state, protocol) = unsafe { (&(*slot).state, (*slot).key.protocol) };
    let silent_ns = now_ns.saturating_sub(state.last_ns);
    let standing = state.standing(protocol, now_ns, rule);
    if matches!(standing, Standing::Complete) && silent_ns < QUIET_NS {
        return u64::MAX;
    }
    // 61 bits of ns are 73 years of uptime.
    (standing as u64) << 61 | (state.last_ns & ((1 << 61) - 1))
}
