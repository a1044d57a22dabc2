//! The flow table on the host: the kernel's own code over memory that threads share.

use std::{
    cell::UnsafeCell,
    collections::HashSet,
    sync::{
        Barrier,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use ntc_common::{
    flow::{FlowRule, FlowState, flow_flags},
    key::{FlowKey, IPPROTO_UDP},
    limits::FLOW_WAYS,
    packet::{Packet, tcp_flags},
    table::{self, Begun, CLAIMED, FlowHash, FlowSet, FlowSlot, Memory, sets_for},
};

const RULE: FlowRule = FlowRule::DEFAULT;
const SECOND: u64 = 1_000_000_000;
const START: u64 = 1000 * SECOND;

/// What the two array maps are in the kernel.
struct Table {
    sets: UnsafeCell<Vec<FlowSet>>,
    slots: UnsafeCell<Vec<FlowSlot>>,
    hash: FlowHash,
}

// SAFETY: shared as map values are between CPUs: tags and locks are touched atomically or by volatile reads, slots
// by who holds their claim.
unsafe impl Sync for Table {}

impl Memory for Table {
    fn set(&self, index: u32) -> Option<*mut FlowSet> {
        // SAFETY: the vectors never grow; elements are reached by pointer only.
        unsafe {
            (index < self.hash.sets as u32).then(|| (*self.sets.get()).as_mut_ptr().add(index as usize))
        }
    }

    fn slot(&self, index: u32) -> Option<*mut FlowSlot> {
        let there = index < self.hash.sets as u32 * FLOW_WAYS as u32;
        // SAFETY: as above.
        unsafe { there.then(|| (*self.slots.get()).as_mut_ptr().add(index as usize)) }
    }

    fn worth(&self, slot: u32, now_ns: u64, rule: &FlowRule) -> u64 {
        table::worth(self, slot, now_ns, rule)
    }

    unsafe fn replace(&self, word: *mut u32, old: u32, new: u32) -> bool {
        // SAFETY: a live, aligned word.
        let word = unsafe { AtomicU32::from_ptr(word) };
        word.compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    unsafe fn publish(&self, word: *mut u32, new: u32) {
        // SAFETY: as above.
        unsafe { AtomicU32::from_ptr(word) }.store(new, Ordering::SeqCst);
    }
}

impl Table {
    fn new(sets: u32) -> Self {
        let mut random = Random(0x6e74_6373);
        let hash = FlowHash { keys: std::array::from_fn(|_| random.next()), sets: sets.into() };
        Self::with_hash(hash)
    }

    fn with_hash(hash: FlowHash) -> Self {
        let set = FlowSet { lock: 0, tags: [0; FLOW_WAYS] };
        let state = FlowState::begin(&Packet::ZERO, 0, 0);
        let slot = FlowSlot { key: FlowKey::ZERO, state, reserved: 0 };
        let sets = hash.sets as usize;
        Self { sets: vec![set; sets].into(), slots: vec![slot; sets * FLOW_WAYS].into(), hash }
    }

    fn begin(&self, packet: &Packet, now_ns: u64) -> Begun {
        let fresh = FlowState::begin(packet, now_ns, 0);
        table::begin(self, &self.hash.place(&packet.key), packet, &fresh, now_ns, &RULE)
    }

    fn find(&self, key: &FlowKey) -> Option<*mut FlowSlot> {
        table::find(self, &self.hash.place(key), key).map(|(slot, _)| slot)
    }

    /// What a test does to a flow's state.
    fn change(&self, key: &FlowKey, change: impl FnOnce(&mut FlowState)) {
        let Some(slot) = self.find(key) else { panic!("the flow is there") };
        // SAFETY: one thread only.
        change(unsafe { &mut (*slot).state });
    }
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// A UDP packet of flow `number`.
fn packet(number: u32) -> Packet {
    let mut packet = Packet::ZERO;
    packet.key.lower_addr[10..12].fill(0xff);
    packet.key.lower_addr[12..].copy_from_slice(&number.to_be_bytes());
    packet.key.upper_addr[10..].fill(0xff);
    packet.key.upper_port = [0, 53];
    packet.key.protocol = IPPROTO_UDP;
    packet.key.ip_version = 4;
    packet
}

fn is_new(begun: Begun) -> bool {
    matches!(begun, Begun::New(_))
}

#[test]
fn as_many_flows_as_it_was_made_for_fit_and_are_found() {
    const FLOWS: u32 = 65_536;
    let table = Table::new(sets_for(FLOWS));
    // Young flows with an answer: none gives way before the others.
    for flow in 0..FLOWS {
        assert!(is_new(table.begin(&packet(flow), START)), "flow {flow}");
        table.change(&packet(flow).key, |state| state.packets = [1, 1]);
    }
    let lost = (0..FLOWS).filter(|flow| table.find(&packet(*flow).key).is_none()).count();
    println!("{lost} of {FLOWS} flows had to give way");
    assert!(lost < FLOWS as usize / 200);
    let home = |flow: &u32| {
        let key = packet(*flow).key;
        let place = table.hash.place(&key);
        table::find(&table, &place, &key).is_some_and(|(_, index)| index / FLOW_WAYS as u32 == place.home)
    };
    let at_home = (0..FLOWS).filter(home).count();
    println!("{at_home} of them stand in their home set");
    assert!(at_home > FLOWS as usize * 4 / 5);
    let foreseen = |flow: &u32| {
        let key = packet(*flow).key;
        let place = table.hash.place(&key);
        let index = place.home * FLOW_WAYS as u32 + place.way;
        table::find(&table, &place, &key).is_some_and(|(_, stands)| stands == index)
    };
    let foreseen = (0..FLOWS).filter(foreseen).count();
    println!("{foreseen} of them where a look-up looks first");
    assert!(foreseen > FLOWS as usize / 2);
}

#[test]
fn places_lie_in_the_table_and_tags_are_no_marks() {
    let table = Table::new(sets_for(1000));
    let mut homes = HashSet::new();
    for flow in 0..10_000 {
        let place = table.hash.place(&packet(flow).key);
        assert!(place.tag > CLAIMED && place.tag < 1 << 31);
        assert!(u64::from(place.home) < table.hash.sets && u64::from(place.other) < table.hash.sets);
        assert!(place.way < FLOW_WAYS as u32);
        homes.insert(place.home);
    }
    assert_eq!(homes.len() as u64, table.hash.sets, "every set is somebody's home");
}

#[test]
fn the_short_way_of_an_ipv4_key_leads_to_the_same_place() {
    let table = Table::new(sets_for(1000));
    for flow in 0..1000 {
        let short = packet(flow).key;
        // The version is in the last word, which counts for nothing here.
        let mut keys = table.hash.keys;
        keys[9] = 0;
        let without = FlowHash { keys, ..table.hash };
        let long = FlowKey { ip_version: 6, ..short };
        assert_eq!(without.place(&short), without.place(&long), "flow {flow}");
    }
}

#[test]
fn a_flood_of_unanswered_flows_takes_no_answered_flows_place() {
    let table = Table::new(sets_for(1000));
    for flow in 0..500 {
        assert!(is_new(table.begin(&packet(flow), START)));
        table.change(&packet(flow).key, |state| {
            state.packets = [10, 10];
            if flow % 2 == 0 {
                state.sequence = RULE.sequence_length;
            }
        });
    }
    let mut refused = 0;
    for flood in 1000..200_000 {
        refused += u32::from(!is_new(table.begin(&packet(flood), START + u64::from(flood) * 1000)));
    }
    assert!((0..500).all(|flow| table.find(&packet(flow).key).is_some()));
    println!("{refused} of the flood refused");
    assert!(refused < 2000, "the flood has the rest of the table to itself");
}

#[test]
fn complete_flows_stay_while_they_are_not_silent() {
    let table = Table::new(1);
    // One set is home and other at once: seven places.
    for flow in 0..FLOW_WAYS as u32 {
        assert!(is_new(table.begin(&packet(flow), START + u64::from(flow))));
        table.change(&packet(flow).key, |state| state.sequence = RULE.sequence_length);
    }
    assert_eq!(table.begin(&packet(100), START + 20 * SECOND), Begun::Full);
    // Half a minute later the one that was silent longest goes.
    table.change(&packet(0).key, |state| state.last_ns += 25 * SECOND);
    assert!(is_new(table.begin(&packet(100), START + 40 * SECOND)));
    assert!(table.find(&packet(0).key).is_some() && table.find(&packet(1).key).is_none());
    // Flows that were shed hold nothing that counts.
    table.change(&packet(2).key, |state| {
        state.flags |= flow_flags::SHED;
        state.last_ns += 39 * SECOND;
    });
    assert!(is_new(table.begin(&packet(101), START + 41 * SECOND)));
    assert!(table.find(&packet(2).key).is_none());
}

#[test]
fn a_flow_that_is_over_is_begun_anew_in_place() {
    let table = Table::new(4);
    let first = packet(1);
    let Begun::New(slot) = table.begin(&first, START) else { panic!("no room in an empty table") };
    assert_eq!(table.begin(&first, START + SECOND), Begun::Joined(slot));
    let later = START + RULE.udp_idle_ns + 1;
    assert_eq!(table.begin(&first, later), Begun::New(slot));
    table.change(&first.key, |state| assert_eq!(state.start_ns, later));
}

#[test]
fn a_key_with_the_tag_of_another_takes_its_place() {
    // All keys hash alike: what 32 bits of tag do once in a while.
    let table = Table::with_hash(FlowHash { keys: [0; 10], sets: 3 });
    assert!(is_new(table.begin(&packet(1), START)));
    assert!(is_new(table.begin(&packet(2), START)));
    assert!(table.find(&packet(1).key).is_none() && table.find(&packet(2).key).is_some());
    assert!(is_new(table.begin(&packet(1), START)));
    assert!(table.find(&packet(1).key).is_some() && table.find(&packet(2).key).is_none());
}

#[test]
fn a_syn_begins_a_closed_flow_anew_only_once() {
    let table = Table::new(4);
    let mut syn = packet(1);
    syn.key.protocol = 6;
    syn.tcp_flags = tcp_flags::SYN;
    assert!(is_new(table.begin(&syn, START)));
    table.change(&syn.key, |state| {
        state.closed_ns = START + SECOND;
        state.flags |= flow_flags::RST;
    });
    assert!(is_new(table.begin(&syn, START + 2 * SECOND)));
    assert!(
        matches!(table.begin(&syn, START + 2 * SECOND), Begun::Joined(_)),
        "the other CPU's look was older"
    );
}

#[test]
fn two_cpus_begin_every_flow_once() {
    const FLOWS: u32 = 20_000;
    for _ in 0..20 {
        let table = Table::new(sets_for(2 * FLOWS));
        let barrier = Barrier::new(2);
        let cpu = || {
            barrier.wait();
            (0..FLOWS).map(|flow| is_new(table.begin(&packet(flow), START))).collect::<Vec<_>>()
        };
        let (one, two) = thread::scope(|scope| {
            let other = scope.spawn(cpu);
            (cpu(), other.join().unwrap_or_default())
        });
        for (flow, begun) in (0..).zip(one.iter().zip(&two)) {
            assert!(begun.0 ^ begun.1, "flow {flow}: {begun:?}");
        }
        // SAFETY: the threads have ended.
        let sets = unsafe { &*table.sets.get() };
        let standing = sets.iter().flat_map(|set| set.tags).filter(|tag| *tag != 0).count();
        assert_eq!(standing, FLOWS as usize);
        assert!(sets.iter().all(|set| set.lock == 0));
    }
}
