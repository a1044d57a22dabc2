//! Sizes, numbers and arithmetic of what crosses between kernel and user space.

use std::{
    collections::HashSet,
    mem::{align_of, offset_of, size_of},
};

use ntc_common::{
    error::ParseError,
    flow::{End, FlowRule, FlowState},
    key::FlowKey,
    label::{Heartbeat, Label, Stage},
    ledger::{Ledger, NOT_FLOW},
    policy::{
        ClassAction, ClassCounter, Enforcement, ExistingDscp, MARK_MASK_DEFAULT, PolicyTable, PolicyText,
        ServiceAction, mark_of,
    },
    record::PacketRecord,
    rules::Rule,
};

#[test]
fn sizes_are_the_abi() {
    let sizes = [
        ("FlowKey", size_of::<FlowKey>(), 40),
        ("FlowRule", size_of::<FlowRule>(), 40),
        ("FlowState", size_of::<FlowState>(), 80),
        ("PacketRecord", size_of::<PacketRecord>(), 80),
        ("Ledger", size_of::<Ledger>(), 224),
        ("Label", size_of::<Label>(), 32),
        ("Heartbeat", size_of::<Heartbeat>(), 16),
        ("ServiceAction", size_of::<ServiceAction>(), 4),
        ("ClassAction", size_of::<ClassAction>(), 16),
        ("Rule", size_of::<Rule>(), 48),
        ("PolicyTable", size_of::<PolicyTable>(), 18_448),
        ("PolicyText", size_of::<PolicyText>(), 65_536),
        ("ClassCounter", size_of::<ClassCounter>(), 16),
        ("Enforcement", size_of::<Enforcement>(), 80),
    ];
    for (name, size, expected) in sizes {
        assert_eq!(size, expected, "{name}");
    }
    // Bytes only: a key on the BPF stack or in a record needs no alignment.
    assert_eq!(align_of::<FlowKey>(), 1);
}

#[test]
fn places_that_other_programs_rely_on() {
    assert_eq!(offset_of!(FlowKey, upper_addr), 16);
    assert_eq!(offset_of!(FlowKey, lower_port), 32);
    assert_eq!(offset_of!(FlowKey, upper_port), 34);
    assert_eq!(offset_of!(FlowKey, protocol), 36);
    assert_eq!(offset_of!(FlowKey, ip_version), 37);
    assert_eq!(offset_of!(Label, start_ns), 0);
    assert_eq!(offset_of!(Label, service), 20);
    assert_eq!(offset_of!(Label, confidence), 22);
    assert_eq!(offset_of!(Label, acts_as), 24);
    assert_eq!(offset_of!(Label, stage), 28);
    assert_eq!(offset_of!(Label, class), 29);
    assert_eq!(offset_of!(Heartbeat, deadline), 0);
    assert_eq!(offset_of!(PacketRecord, start_ns), 40);
}

#[test]
fn errors_stand_in_the_order_of_their_counters() {
    assert_eq!(ParseError::ALL.len(), NOT_FLOW);
    for (place, error) in ParseError::ALL.iter().enumerate() {
        assert_eq!(*error as usize, place, "{error}");
        assert_eq!(error.to_string(), error.name());
    }
    let names: HashSet<_> = ParseError::ALL.iter().map(|error| error.name()).collect();
    assert_eq!(names.len(), NOT_FLOW, "names are unique");
    // Named in metrics: snake case.
    assert!(names.iter().all(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b == b'4')));
}

#[test]
fn numbers_of_ends_and_stages() {
    for number in 0..=u8::MAX {
        assert_eq!(
            End::from_number(number).map(|end| end as u8),
            (1..=5).contains(&number).then_some(number)
        );
        assert_eq!(Stage::from_number(number).map(|s| s as u8), (1..=2).contains(&number).then_some(number));
    }
    let ends = [End::Fin, End::Rst, End::Idle, End::Eof, End::Evicted];
    assert_eq!(ends.map(End::name), ["fin", "rst", "idle", "eof", "evicted"]);
    assert_eq!([Stage::Provisional, Stage::Final].map(Stage::name), ["provisional", "final"]);
}

/// A ledger whose fields all differ, and which does not close.
fn distinct(factor: u64) -> Ledger {
    let mut ledger = Ledger {
        seen: factor,
        recorded: 2 * factor,
        gated: 3 * factor,
        ring_full: 5 * factor,
        table_full: 7 * factor,
        new_flows: 11 * factor,
        resumed_flows: 13 * factor,
        shed_flows: 29 * factor,
        super_packets: 17 * factor,
        unsplit: 23 * factor,
        zero_ip_len: 19 * factor,
        not_flow: [0; NOT_FLOW],
    };
    for (counter, n) in ledger.not_flow.iter_mut().zip(100..) {
        *counter = n * factor;
    }
    ledger
}

#[test]
fn ledgers_add_field_by_field() {
    let mut sum = Ledger::ZERO;
    assert!(sum.closes());
    sum.add(&distinct(1));
    assert_eq!(sum, distinct(1));
    sum.add(&distinct(1000));
    assert_eq!(sum, distinct(1001));
}

#[test]
fn a_ledger_closes_when_each_packet_went_one_way() {
    let mut ledger = distinct(1);
    assert_eq!(ledger.dropped(), 5 + 7);
    let not_flow: u64 = (100..100 + NOT_FLOW as u64).sum();
    assert_eq!(ledger.not_flow_total(), not_flow);
    assert!(!ledger.closes());
    ledger.seen = 2 + 3 + 5 + 7 + not_flow;
    assert!(ledger.closes());

    let ways: [fn(&mut Ledger) -> &mut u64; 5] = [
        |ledger| &mut ledger.recorded,
        |ledger| &mut ledger.gated,
        |ledger| &mut ledger.ring_full,
        |ledger| &mut ledger.table_full,
        |ledger| &mut ledger.not_flow[NOT_FLOW - 1],
    ];
    for way in ways {
        let mut off = ledger;
        *way(&mut off) += 1;
        assert!(!off.closes());
        off.seen += 1;
        assert!(off.closes());
    }
    let apart: [fn(&mut Ledger) -> &mut u64; 6] = [
        |ledger| &mut ledger.new_flows,
        |ledger| &mut ledger.resumed_flows,
        |ledger| &mut ledger.shed_flows,
        |ledger| &mut ledger.super_packets,
        |ledger| &mut ledger.unsplit,
        |ledger| &mut ledger.zero_ip_len,
    ];
    for counter in apart {
        *counter(&mut ledger) += 1;
        assert!(ledger.closes(), "counted apart");
    }
}

#[test]
fn enforcement_counters_add_field_by_field() {
    let counts = |factor: u64| Enforcement {
        ingress: factor,
        egress: 2 * factor,
        stale: 3 * factor,
        unlabelled: 5 * factor,
        labelled: 7 * factor,
        by_mark: 11 * factor,
        remarked: 13 * factor,
        by_rule: 17 * factor,
        by_default: 19 * factor,
        dropped: 23 * factor,
    };
    let mut sum = Enforcement::ZERO;
    sum.add(&counts(1));
    sum.add(&counts(1000));
    assert_eq!(sum, counts(1001));
}

#[test]
fn marks() {
    assert_eq!(mark_of(3, MARK_MASK_DEFAULT), 0x0003_0000);
    assert_eq!(mark_of(255, MARK_MASK_DEFAULT), MARK_MASK_DEFAULT);
    assert_eq!(mark_of(0, MARK_MASK_DEFAULT), 0);
    assert_eq!(mark_of(9, 0), 0);
    assert_eq!(mark_of(9, u32::MAX), 9);
    assert_eq!(mark_of(5, 0xf000_0000), 0x5000_0000);
    assert_eq!(mark_of(1, 0x8000_0000), 0x8000_0000);
    for shift in 0..32 {
        let mask = 0xff << shift;
        for class in 0..=u8::MAX {
            assert_eq!(mark_of(class, mask) & !mask, 0, "no foreign bit");
            if mask.count_ones() == 8 {
                assert_eq!(mark_of(class, mask) >> shift, u32::from(class));
            }
        }
    }
}

#[test]
fn when_a_code_point_is_written() {
    for current in 0..64 {
        assert!(!ExistingDscp::writes(ExistingDscp::Never as u8, current));
        assert_eq!(ExistingDscp::writes(ExistingDscp::IfZero as u8, current), current == 0);
        assert!(ExistingDscp::writes(ExistingDscp::Override as u8, current));
        // A number that this version does not know writes nothing.
        assert!((3..=u8::MAX).all(|number| !ExistingDscp::writes(number, current)));
    }
}
