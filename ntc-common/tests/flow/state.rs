//! What a flow's state and its records hold.

use ntc_common::{
    flow::{End, FlowRule, FlowState, Owned, flow_flags},
    key::{FlowKey, IPPROTO_TCP, IPPROTO_UDP},
    packet::{NO_VLAN, Packet},
    record::{PacketRecord, record_flags},
};

use crate::events::{ACK, FIN, RST, SYN, Slot, from_upper, packet, tcp};

const S: u64 = 1_000_000_000;
const RULE: FlowRule = FlowRule::DEFAULT;

#[test]
fn the_first_packet_gives_start_source_and_vlan() {
    let key = FlowKey { lower_port: [0, 1], upper_port: [0, 2], lower_addr: [3; 16], ..tcp(SYN).key };
    let first = Packet { key, vlan: 42, ..tcp(SYN) };
    for (first, source, destination) in
        [(first, key.lower(), key.upper()), (from_upper(first), key.upper(), key.lower())]
    {
        let mut slot = Slot::default();
        assert_eq!(slot.take(&first, 7, &RULE).step.direction, 0);
        let reply = Packet { from_upper: !first.from_upper, vlan: 43, ..first };
        assert_eq!(slot.take(&reply, 9, &RULE).step.direction, 1);
        assert_eq!(slot.take(&first, 8, &RULE).step.direction, 0);
        let flow = slot.flow.unwrap();
        assert_eq!((flow.start_ns, flow.last_ns, flow.closed_ns), (7, 9, 0));
        assert_eq!(flow.ends(&key), (source, destination));
        assert_eq!(flow.vlan(), Some(42));
    }
    assert_eq!(FlowState::begin(&tcp(SYN), 1, 0).vlan(), None);
    assert_eq!(FlowState::begin(&Packet { vlan: 0, ..tcp(SYN) }, 1, 0).vlan(), Some(0));
}

#[test]
fn packets_and_bytes_are_counted_by_direction_without_end() {
    let mut slot = Slot::default();
    for i in 0..1000 {
        let sized = Packet { ip_len: 40 + i, ..packet(IPPROTO_UDP, 0) };
        slot.take(&if i % 4 == 0 { sized } else { from_upper(sized) }, u64::from(i), &RULE);
    }
    let flow = slot.flow.unwrap();
    let bytes = |keep: fn(u64) -> bool| (0..1000).filter(|i| keep(*i)).map(|i| 40 + i).sum::<u64>();
    assert_eq!(flow.packets, [250, 750]);
    assert_eq!(flow.bytes, [bytes(|i| i % 4 == 0), bytes(|i| i % 4 != 0)]);
    assert_eq!((flow.sequence, flow.last_ns), (20, 999));
}

#[test]
fn twenty_packets_are_recorded() {
    for (rule, length) in [(RULE, 20), (FlowRule::CORPUS, 20), (FlowRule { sequence_length: 3, ..RULE }, 3)] {
        let mut slot = Slot::default();
        for i in 0..100 {
            let index = slot.take(&packet(IPPROTO_UDP, 0), u64::from(i), &rule).step.index;
            assert_eq!(index, (i < length).then_some(i));
        }
        // Stragglers of a closed flow have their place, too; the next flow begins anew.
        let mut slot = Slot::default();
        for (place, flags) in [RST, ACK, ACK].into_iter().enumerate() {
            assert_eq!(slot.take(&tcp(flags), S, &rule).step.index, Some(place as u8));
        }
        let index = slot.take(&tcp(SYN), 1000 * S, &rule).step.index;
        assert_eq!(index, Some(0));
    }
}

#[test]
fn a_resumed_flow_records_nothing_and_counts_all() {
    let mut flow = FlowState::begin(&tcp(ACK), S, 0);
    flow.resume(&RULE);
    for i in 0..5 {
        let step = flow.account::<Owned>(&from_upper(tcp(ACK)), S + i, &RULE);
        assert_eq!((step.index, step.direction), (None, 1));
    }
    assert_eq!(flow.flags & flow_flags::RESUMED, flow_flags::RESUMED);
    assert_eq!((flow.packets, flow.bytes), ([0, 5], [0, 500]));
    // It still closes, and what comes after it is a flow like any other.
    assert_eq!(flow.account::<Owned>(&tcp(RST), 2 * S, &RULE).closes, Some(End::Rst));
    assert_eq!(flow.ended_before(&tcp(SYN), 3 * S, &RULE), Some(End::Rst));
    assert_eq!(FlowState::begin(&tcp(SYN), 3 * S, 0).flags & flow_flags::RESUMED, 0);
}

#[test]
fn over_without_a_packet() {
    let mut slot = Slot::default();
    slot.take(&tcp(SYN), 10 * S, &RULE);
    let open = slot.flow.unwrap();
    assert_eq!(open.close_reason(), End::Eof);
    assert_eq!(open.over(IPPROTO_TCP, 310 * S, &RULE), None);
    assert_eq!(open.over(IPPROTO_TCP, 310 * S + 1, &RULE), Some(End::Idle));
    assert_eq!(open.over(IPPROTO_UDP, 130 * S + 1, &RULE), Some(End::Idle));
    assert_eq!(open.over(IPPROTO_TCP, 0, &RULE), None);

    slot.take(&tcp(FIN), 11 * S, &RULE);
    slot.take(&from_upper(tcp(FIN)), 12 * S, &RULE);
    slot.take(&tcp(ACK), 20 * S, &RULE);
    let closed = slot.flow.unwrap();
    assert_eq!(closed.close_reason(), End::Fin);
    assert_eq!(closed.over(IPPROTO_TCP, 22 * S, &RULE), None);
    assert_eq!(closed.over(IPPROTO_TCP, 22 * S + 1, &RULE), Some(End::Fin));
    let hasty = FlowRule { tcp_idle_ns: 0, ..RULE };
    assert_eq!(closed.over(IPPROTO_TCP, 21 * S, &hasty), Some(End::Fin));
}

#[test]
fn records() {
    let key = FlowKey { lower_port: [1, 2], upper_port: [3, 4], ..tcp(0).key };
    let first = from_upper(Packet { key, vlan: 12, ..tcp(SYN) });
    let mut slot = Slot::default();
    let step = slot.take(&first, 100, &RULE).step;
    let record = slot.flow.unwrap().record(&first, &step, 0, 100, 5);
    let expected = PacketRecord {
        key,
        start_ns: 100,
        timestamp_ns: 100,
        payload_len: 60,
        segment_len: 0,
        ifindex: 5,
        window: 512,
        vlan: 12,
        segments: 1,
        places: 1,
        index: 0,
        flags: record_flags::UPPER_IS_SOURCE,
        tcp_flags: SYN,
        end: 0,
    };
    assert_eq!(record, expected);
    assert_eq!((record.direction(), record.upper_is_source()), (0, true));

    let reset =
        Packet { key, payload_len: 0, window: 0, ..Packet { vlan: NO_VLAN, ip_len: 40, ..tcp(RST | ACK) } };
    let step = slot.take(&reset, 250, &RULE).step;
    let record = slot.flow.unwrap().record(&reset, &step, 1, 250, 6);
    let expected = PacketRecord {
        timestamp_ns: 250,
        payload_len: 0,
        ifindex: 6,
        window: 0,
        vlan: NO_VLAN,
        index: 1,
        flags: record_flags::UPPER_IS_SOURCE | record_flags::TO_SOURCE,
        tcp_flags: RST | ACK,
        end: End::Rst as u8,
        ..expected
    };
    assert_eq!(record, expected);
    assert_eq!((record.direction(), record.upper_is_source()), (1, true));
    assert_eq!(End::from_number(record.end), Some(End::Rst));
}

#[test]
fn a_record_tells_neither_close_nor_direction_of_other_flows() {
    // All other flags of a flow stay out of its records.
    let mut flow = FlowState::begin(&tcp(SYN), 1, 0);
    flow.flags |= flow_flags::FINS | flow_flags::RST | flow_flags::RESUMED;
    let step = flow.account::<Owned>(&tcp(ACK), 2, &RULE);
    assert_eq!(flow.record(&tcp(ACK), &step, 0, 2, 0).flags, 0);
}
