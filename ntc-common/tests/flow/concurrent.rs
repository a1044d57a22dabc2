//! Two packets of one flow on two CPUs.

use std::{
    cell::{Cell, UnsafeCell},
    sync::{
        Barrier,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use ntc_common::{
    flow::{End, FlowRule, FlowState, Owned, Words},
    packet::Packet,
};

use crate::events::{ACK, FIN, from_upper, tcp};

const RULE: FlowRule = FlowRule::DEFAULT;

/// Words that threads share, as map values are shared between CPUs.
struct Atomic;

impl Words for Atomic {
    fn fetch_add(word: &mut u64, value: u64) -> u64 {
        // SAFETY: a live, aligned u64; while threads share it, the rule changes it only through here.
        unsafe { AtomicU64::from_ptr(word) }.fetch_add(value, Ordering::Relaxed)
    }

    fn fetch_or(word: &mut u64, bits: u64) -> u64 {
        // SAFETY: as above.
        unsafe { AtomicU64::from_ptr(word) }.fetch_or(bits, Ordering::Relaxed)
    }
}

/// A map value: every CPU holds a pointer to it.
struct MapValue(UnsafeCell<FlowState>);

// SAFETY: what is shared here is shared in the kernel: counters, sequence and flags are atomic words, and
// `last_ns` and `closed_ns` are aligned words of which any CPU's store may win.
unsafe impl Sync for MapValue {}

#[test]
fn every_place_in_the_sequence_is_given_once() {
    const EACH: u64 = 500;
    for round in 0..200 {
        let value = MapValue(UnsafeCell::new(FlowState::begin(&tcp(ACK), 1, 0)));
        let barrier = Barrier::new(2);
        let cpu = |packet: Packet| {
            let value = &value;
            barrier.wait();
            let places = (0..EACH).filter_map(|i| {
                // SAFETY: the pointer is valid throughout; that two CPUs hold it at once is what is tested.
                let flow = unsafe { &mut *value.0.get() };
                flow.account::<Atomic>(&packet, i, &RULE).index
            });
            places.collect::<Vec<_>>()
        };
        let mut places = thread::scope(|scope| {
            let other = scope.spawn(|| cpu(from_upper(tcp(ACK))));
            let mut places = cpu(tcp(ACK));
            places.extend(other.join().unwrap());
            places
        });
        places.sort_unstable();
        assert_eq!(places, (0..20).collect::<Vec<u8>>(), "round {round}");
        let flow = value.0.into_inner();
        assert_eq!((flow.packets, flow.bytes), ([EACH; 2], [EACH * 100; 2]));
        // Each CPU can be between its look and its taking once.
        assert!((20..=21).contains(&flow.sequence));
    }
}

thread_local! {
    /// What the other CPU does before the next word is added to or set.
    static OTHER_CPU: Cell<Option<fn(&mut u64)>> = const { Cell::new(None) };
}

/// Words that the other CPU always reaches first.
struct Raced;

impl Words for Raced {
    fn fetch_add(word: &mut u64, value: u64) -> u64 {
        if let Some(other) = OTHER_CPU.get() {
            other(word);
        }
        Owned::fetch_add(word, value)
    }

    fn fetch_or(word: &mut u64, bits: u64) -> u64 {
        if let Some(other) = OTHER_CPU.get() {
            other(word);
        }
        Owned::fetch_or(word, bits)
    }
}

#[test]
fn the_last_place_may_go_to_the_other_cpu() {
    let mut flow = FlowState::begin(&tcp(ACK), 1, 0);
    OTHER_CPU.set(Some(|word| *word += 1));
    flow.sequence = 18;
    assert_eq!(flow.account::<Raced>(&tcp(ACK), 1, &RULE).index, Some(19));
    flow.sequence = 19;
    assert_eq!(flow.account::<Raced>(&tcp(ACK), 1, &RULE).index, None);
    assert_eq!(flow.sequence, 21);
    OTHER_CPU.set(None);
    assert_eq!(flow.account::<Raced>(&tcp(ACK), 1, &RULE).index, None);
    assert_eq!(flow.sequence, 21, "a full sequence is left alone");
}

#[test]
fn two_fins_at_once_close_the_flow() {
    use ntc_common::flow::flow_flags::FIN_BACKWARD;
    let mut flow = FlowState::begin(&tcp(ACK), 1, 0);
    OTHER_CPU.set(Some(|word| *word |= FIN_BACKWARD));
    // Counters race as well here; only the flags matter.
    assert_eq!(flow.account::<Raced>(&tcp(FIN | ACK), 5, &RULE).closes, Some(End::Fin));
    OTHER_CPU.set(None);
    assert_eq!((flow.closed_ns, flow.close_reason()), (5, End::Fin));
}

#[test]
fn a_super_packet_takes_what_the_other_cpu_left() {
    let mut flow = FlowState::begin(&tcp(ACK), 1, 0);
    flow.sequence = 10;
    let packet = Packet { segments: 9, segment_len: 60, ..tcp(ACK) };
    // Between look and taking the other CPU takes 5 places.
    OTHER_CPU.set(Some(|word| *word += 5));
    let step = flow.account::<Raced>(&packet, 1, &RULE);
    OTHER_CPU.set(None);
    assert_eq!((step.index, step.places), (Some(15), 5));
    let step = flow.account::<Owned>(&packet, 1, &RULE);
    assert_eq!((step.index, step.places), (None, 0));
}
