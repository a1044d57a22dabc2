//! Super-packets: taken apart, accounted and recorded they are the packets that the wire carries.

use ntc_common::{
    flow::{FlowRule, FlowState, Owned},
    key::{FlowKey, IPPROTO_TCP, IPPROTO_UDP},
    limits::SEQUENCE_LENGTH,
    offload::{Offload, Split},
    packet::{NO_VLAN, Packet},
    record::PacketRecord,
};
use proptest::{collection::vec, prelude::*, sample::select};

const FIN: u8 = 0x01;
const RST: u8 = 0x04;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;
const CWR: u8 = 0x80;

const RULE: FlowRule = FlowRule::DEFAULT;
/// Ethernet.
const LINK: u32 = 14;

/// A packet with so much payload behind `headers` bytes of IP and transport.
const fn packet(protocol: u8, headers: u32, payload_len: u32, tcp_flags: u8) -> Packet {
    Packet {
        key: FlowKey { protocol, ip_version: 4, ..FlowKey::ZERO },
        payload_len,
        ip_len: headers + payload_len,
        window: if protocol == IPPROTO_TCP { 501 } else { 0 },
        tcp_flags,
        vlan: NO_VLAN,
        ip_offset: LINK as u16,
        ..Packet::ZERO
    }
}

const fn offload(segments: u32, segment_len: u32) -> Offload {
    Offload { segments, segment_len, repeated_len: 0 }
}

/// What the wire carries, made as tcp_gso_segment() does: by cutting the bytes behind `repeated` bytes of payload
/// (the headers of a tunnel) and putting the headers before each piece.
fn wire(whole: &Packet, segment_len: u32, repeated: u32) -> Vec<Packet> {
    let headers = whole.ip_len - whole.payload_len;
    let mut left = whole.payload_len - repeated;
    let mut packets = Vec::new();
    while left > 0 || packets.is_empty() {
        let piece = left.min(segment_len);
        left -= piece;
        let mut tcp_flags = whole.tcp_flags;
        if left > 0 {
            tcp_flags &= !(FIN | PSH);
        }
        if !packets.is_empty() {
            tcp_flags &= !CWR;
        }
        let payload_len = repeated + piece;
        packets.push(Packet { payload_len, ip_len: headers + payload_len, tcp_flags, ..*whole });
    }
    packets
}

/// A flow and the sequence that its records make.
#[derive(Debug)]
struct Flow {
    state: FlowState,
    /// Time, payload, flags, window, direction of each place.
    places: Vec<(u64, u32, u8, u16, u8)>,
    closed: Option<u8>,
}

impl Flow {
    const fn begin(packet: &Packet, now_ns: u64) -> Self {
        Self { state: FlowState::begin(packet, now_ns, 0), places: Vec::new(), closed: None }
    }

    fn account(&mut self, packet: &Packet, now_ns: u64) -> Option<PacketRecord> {
        let step = self.state.account::<Owned>(packet, now_ns, &RULE);
        self.closed = self.closed.or(step.closes.map(|end| end as u8));
        let record = self.state.record(packet, &step, step.index?, now_ns, 3);
        for wire in record.wire_packets() {
            assert_eq!(wire.index, self.places.len(), "places follow each other");
            self.places.push((
                record.timestamp_ns,
                wire.payload_len,
                wire.tcp_flags,
                record.window,
                record.direction(),
            ));
        }
        Some(record)
    }
}

#[test]
fn a_super_packet_is_its_segments() {
    let whole = packet(IPPROTO_TCP, 52, 3000, ACK | PSH | FIN | CWR);
    let mut taken = whole;
    assert_eq!(offload(3, 1448).split(&mut taken), Split::Several);
    assert_eq!((taken.segments, taken.segment_len, taken.payload_len, taken.ip_len), (3, 1448, 104, 156));
    assert_eq!(taken.wire_bytes(), 3 * 52 + 3000);

    let mut flow = Flow::begin(&taken, 7);
    let record = flow.account(&taken, 7).unwrap();
    assert_eq!((record.index, record.segments, record.places), (0, 3, 3));
    let packets: Vec<_> = flow.places.iter().map(|place| (place.1, place.2)).collect();
    assert_eq!(packets, [(1448, ACK | CWR), (1448, ACK), (104, ACK | PSH | FIN)]);
    assert!(flow.places.iter().all(|place| place.0 == 7 && place.3 == 501));
    assert_eq!((flow.state.packets, flow.state.bytes), ([3, 0], [3156, 0]));
}

#[test]
fn flags_stay_where_the_kernel_leaves_them() {
    // Neither is cleared by tcp_gso_segment(); no host makes such packets.
    for flag in [0x02, RST, 0x20, 0x40] {
        let mut taken = packet(IPPROTO_TCP, 40, 300, flag | ACK);
        assert_eq!(offload(3, 100).split(&mut taken), Split::Several);
        let mut flow = Flow::begin(&taken, 1);
        flow.account(&taken, 1).unwrap();
        assert!(flow.places.iter().all(|place| place.2 == flag | ACK));
    }
}

#[test]
fn segments_beyond_the_sequence_have_no_place() {
    let mut taken = packet(IPPROTO_TCP, 40, 44 * 1000 + 1, ACK | PSH);
    assert_eq!(offload(45, 1000).split(&mut taken), Split::Several);
    let mut flow = Flow::begin(&taken, 1);
    flow.account(&packet(IPPROTO_TCP, 40, 0, ACK), 1);
    let record = flow.account(&taken, 2).unwrap();
    assert_eq!((record.index, record.segments, record.places), (1, 45, 19));
    assert_eq!(flow.places.len(), SEQUENCE_LENGTH);
    // The last segment is none of them.
    assert!(flow.places[1..].iter().all(|place| (place.1, place.2) == (1000, ACK)));
    assert_eq!(flow.state.packets[0], 46);
    let sequence = flow.state.sequence;
    assert_eq!(flow.account(&taken, 3), None);
    assert_eq!(flow.state.sequence, sequence, "a full sequence is left alone");
}

#[test]
fn segments_that_nobody_counted_are_counted_by_length() {
    let whole = packet(IPPROTO_UDP, 28, 2500, 0);
    let mut taken = whole;
    assert_eq!(offload(0, 1200).split(&mut taken), Split::Several);
    assert_eq!((taken.segments, taken.segment_len, taken.payload_len), (3, 1200, 100));
    // Too short to be divided, and so without more than a name.
    let mut short = whole;
    assert_eq!(offload(0, 2500).split(&mut short), Split::One);
    assert_eq!(offload(1, 2600).split(&mut short), Split::One);
    assert_eq!(short, whole);
    // More than any count can say.
    assert_eq!(offload(0, 1).split(&mut packet(IPPROTO_UDP, 28, 65_536, 0)), Split::Unknown);
    let mut most = packet(IPPROTO_UDP, 28, 65_535, 0);
    assert_eq!(offload(0, 1).split(&mut most), Split::Several);
    assert_eq!(most.wire_bytes(), 65_535 * 29);
}

#[test]
fn counts_that_contradict_the_length_are_left_as_one_packet() {
    for (segments, segment_len) in [(2, 1000), (4, 1000), (3, 0xffff), (1, 1000), (u32::MAX, 1000)] {
        for protocol in [IPPROTO_TCP, IPPROTO_UDP] {
            let whole = packet(protocol, 40, 2500, 0);
            let mut taken = whole;
            assert_eq!(offload(segments, segment_len).split(&mut taken), Split::Unknown, "{segments}");
            assert_eq!(taken, whole);
        }
    }
}

#[test]
fn of_no_flow_only_the_count_is_known() {
    assert_eq!(offload(0, 1000).uncounted(), Split::Unknown);
    assert_eq!(offload(1, 1000).uncounted(), Split::One);
    assert_eq!(offload(2, 1000).uncounted(), Split::Several);
}

#[test]
fn the_header_for_the_length_of_a_jumbogram_is_not_sent() {
    // BIG TCP: 40 bytes of IPv6, 8 hop-by-hop, 32 of TCP.
    let mut taken = packet(IPPROTO_TCP, 80, 100_000, ACK);
    taken.key.ip_version = 6;
    taken.jumbo = true;
    assert_eq!(offload(70, 1440).split(&mut taken), Split::Several);
    assert_eq!(taken.payload_len, 100_000 - 69 * 1440);
    assert_eq!(taken.wire_bytes(), 70 * 72 + 100_000);
    // One that is not offloaded keeps it.
    let mut jumbogram = Packet { jumbo: true, ..packet(IPPROTO_TCP, 80, 1440, ACK) };
    assert_eq!(offload(1, 1440).split(&mut jumbogram), Split::One);
    assert_eq!(jumbogram.wire_bytes(), 1520);
}

#[test]
fn a_tunnels_headers_are_repeated() {
    // VXLAN over TCP: 8 and 14, 20 and 32 bytes stand before the payload of each segment.
    const TUNNEL: u32 = 8 + 14 + 20 + 32;
    let whole = packet(IPPROTO_UDP, 28, TUNNEL + 2 * 1398 + 10, 0);
    let with = |repeated_len| Offload { segments: 3, segment_len: 1398, repeated_len };
    let mut taken = whole;
    assert_eq!(with(2 * (LINK + 28 + TUNNEL)).split(&mut taken), Split::Several);
    assert_eq!((taken.segments, taken.segment_len, taken.payload_len), (3, TUNNEL + 1398, TUNNEL + 10));
    let expected: u64 = wire(&whole, 1398, TUNNEL).iter().map(Packet::wire_bytes).sum();
    assert_eq!(taken.wire_bytes(), expected);
    // Not divisible, shorter than the packet's own headers, longer than the packet.
    for repeated_len in [1, 2 * (LINK + 28) - 2, 2 * (LINK + 28 + TUNNEL) + 1, 2 * 10_000] {
        let mut taken = whole;
        assert_eq!(with(repeated_len).split(&mut taken), Split::Unknown, "{repeated_len}");
        assert_eq!(taken, whole);
    }
    // As if it were no tunnel, the lengths may fit by chance: what is repeated tells the difference.
    let mut plain = packet(IPPROTO_UDP, 28, 2 * 1398 + 10, 0);
    assert_eq!(with(2 * (LINK + 28)).split(&mut plain), Split::Several);
    assert_eq!((plain.segment_len, plain.payload_len), (1398, 10));
}

#[derive(Clone, Debug)]
struct Sent {
    from_upper: bool,
    payload_len: u32,
    segment_len: u32,
    tcp_flags: u8,
    counted: bool,
    step_ns: u64,
}

fn sent() -> impl Strategy<Value = Sent> {
    let flags = select(vec![ACK, ACK, ACK | PSH, ACK | PSH | FIN, ACK | CWR, ACK | CWR | PSH, ACK | RST]);
    (any::<bool>(), 0..20_000_u32, 100..3000_u32, flags, any::<bool>(), 0..1_000_000_u64).prop_map(
        |(from_upper, payload_len, segment_len, tcp_flags, counted, step_ns)| Sent {
            from_upper,
            payload_len,
            segment_len,
            tcp_flags,
            counted,
            step_ns,
        },
    )
}

#[test]
fn headers_alone_are_one_packet() {
    let mut taken = packet(IPPROTO_UDP, 28, 0, 0);
    assert_eq!(offload(1, 100).split(&mut taken), Split::One);
    assert_eq!(taken.segments, 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn super_packets_leave_what_their_wire_packets_leave(
        tcp in any::<bool>(),
        headers in select(vec![28, 40, 52, 60, 72]),
        sent in vec(sent(), 1..12),
    ) {
        let protocol = if tcp { IPPROTO_TCP } else { IPPROTO_UDP };
        let mut flows: Option<(Flow, Flow)> = None;
        let mut now_ns = 5;
        for Sent { from_upper, payload_len, segment_len, tcp_flags, counted, step_ns } in sent {
            now_ns += step_ns;
            let tcp_flags = if tcp { tcp_flags } else { 0 };
            let whole = Packet { from_upper, ..packet(protocol, headers, payload_len, tcp_flags) };
            let singles = wire(&whole, segment_len, 0);
            let mut taken = whole;
            let segments = if counted { singles.len() as u32 } else { 0 };
            let split = offload(segments, segment_len).split(&mut taken);
            prop_assert_eq!(split, if singles.len() > 1 { Split::Several } else { Split::One });
            prop_assert_eq!(taken.segments as usize, singles.len());
            let (one, many) =
                flows.get_or_insert_with(|| (Flow::begin(&taken, now_ns), Flow::begin(&singles[0], now_ns)));
            one.account(&taken, now_ns);
            for single in &singles {
                many.account(single, now_ns);
            }
            prop_assert_eq!(&one.places, &many.places);
            // Flags that all segments repeat may close with the first, and those with the last: the flow is closed.
            prop_assert_eq!(one.closed, many.closed);
            let length = RULE.sequence_length;
            one.state.sequence = one.state.sequence.min(length);
            many.state.sequence = many.state.sequence.min(length);
            prop_assert_eq!(one.state, many.state);
        }
    }

    #[test]
    fn any_numbers_leave_lengths_that_add_up(
        protocol in select(vec![IPPROTO_TCP, IPPROTO_UDP]),
        payload_len in 0..600_000_u32,
        segments in prop_oneof![0..100_u32, any::<u32>()],
        segment_len in prop_oneof![1..2000_u32, 1..=u32::MAX],
        repeated_len in prop_oneof![Just(0), 0..100_000_u32, any::<u32>()],
        jumbo in any::<bool>(),
    ) {
        let whole = Packet { jumbo, ..packet(protocol, 60, payload_len, ACK) };
        let mut taken = whole;
        match (Offload { segments, segment_len, repeated_len }).split(&mut taken) {
            Split::One | Split::Unknown => prop_assert_eq!(taken, whole),
            Split::Several => {
                prop_assert!(taken.segments > 1 && taken.segments <= 65_535);
                // What a tunnel repeats: 0 for most.
                let repeated = taken.segment_len - segment_len;
                let sum = u64::from(taken.segments - 1) * u64::from(taken.segment_len)
                    + u64::from(taken.payload_len);
                let again = u64::from(taken.segments - 1) * u64::from(repeated);
                prop_assert_eq!(sum, u64::from(payload_len) + again);
                prop_assert!(taken.payload_len <= taken.segment_len);
                let headers = if jumbo { 52 } else { 60 };
                prop_assert_eq!(taken.wire_bytes(), sum + u64::from(taken.segments) * headers);
            }
        }
    }
}
