//! The loaded program beside ntc-common on the host, super-packet by super-packet.

use anyhow::{Context as _, ensure};
use ntc_common::{
    error::ParseError,
    flow::{FlowRule, FlowState, Owned},
    ledger::Ledger,
    link::LinkType,
    offload::{Offload, Split},
    packet::Packet,
    parse::parse,
    record::PacketRecord,
    source::Captured,
};
use ntc_tests::{frames::Frame, kernel::Programs};
use ntc_user::kernel::load::{Settings, TC_INGRESS};

/// xorshift64*: the same numbers on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as u32 % bound
    }
}

fn parsed(frame: &[u8]) -> Result<Packet, ParseError> {
    let mut packet = Packet::ZERO;
    parse(&Captured::new(frame, frame.len()), LinkType::Ethernet, &mut packet).map(|()| packet)
}

fn counted(ledger: &mut Ledger, split: Split) {
    ledger.super_packets += u64::from(split != Split::One);
    ledger.unsplit += u64::from(split == Split::Unknown);
}

#[test]
fn kernel_and_host_agree_on_super_packets() -> anyhow::Result<()> {
    let mut programs = Programs::load(&Settings::default())?;
    let mut random = Random(0x6e74_6333);
    let mut expected = Ledger::ZERO;
    for flow in 0..400u16 {
        let ends = (("192.0.2.1".parse()?, 4000 + flow), ("198.51.100.7".parse()?, 443));
        let tcp = random.below(2) == 0;
        let mut known: Option<FlowState> = None;
        for _ in 0..8 {
            let payload = random.below(1400) as usize;
            let flags = [0x10, 0x18, 0x98, 0x90][random.below(4) as usize];
            let frame = if tcp {
                Frame::tcp(ends.0, ends.1, flags, payload)
            } else {
                Frame::udp(ends.0, ends.1, payload)
            };
            let bytes = frame.bytes();
            let mut packet = parsed(&bytes)?;
            let mut offload = Offload { segments: 0, segment_len: 40 + random.below(700), repeated_len: 0 };
            if random.below(4) > 0 {
                let off_by_one = u32::from(random.below(8) == 0);
                offload.segments = (payload as u32).div_ceil(offload.segment_len) + off_by_one;
                let headers = bytes.len() as u32 - payload as u32;
                // As egress tells it; sometimes of a tunnel, or nonsense.
                let each = headers + [0, 0, 0, 0, 30, 1][random.below(6) as usize];
                offload.repeated_len = each * offload.segments.saturating_sub(1);
            }
            programs.tc_offloaded(TC_INGRESS, &bytes, offload).with_context(|| format!("{offload:?}"))?;

            counted(&mut expected, offload.split(&mut packet));
            let state = known.get_or_insert_with(|| {
                expected.new_flows += 1;
                FlowState::begin(&packet, 0, 0)
            });
            let step = state.account::<Owned>(&packet, 0, &FlowRule::DEFAULT);
            expected.seen += u64::from(packet.segments);
            expected.recorded += u64::from(step.places);
            expected.gated += u64::from(packet.segments - step.places);
            let record = step.index.map(|index| state.record(&packet, &step, index, 0, 0));
            let live = programs.record().map(without_time);
            ensure!(live == record, "{offload:?}: live {live:?}, host {record:?}");
        }
    }
    let ledger = programs.ledger()?;
    ensure!(ledger == expected && ledger.closes(), "live {ledger:?}, host {expected:?}");
    ensure!(ledger.super_packets > 1000 && ledger.unsplit > 100, "{ledger:?}");
    Ok(())
}

fn without_time(record: PacketRecord) -> PacketRecord {
    PacketRecord { start_ns: 0, timestamp_ns: 0, ifindex: 0, ..record }
}

#[test]
fn the_ledger_closes_over_super_packets_that_are_lost_or_of_no_flow() -> anyhow::Result<()> {
    // Room for 40 records and no more.
    let settings = Settings { ring_bytes: 4096, ..Settings::default() };
    let mut programs = Programs::load(&settings)?;
    let mut send = |frame: &[u8], segments, segment_len| {
        let offload = Offload { segments, segment_len, repeated_len: 0 };
        programs.tc_offloaded(TC_INGRESS, frame, offload)
    };
    const SENT: u64 = 100;
    for port in 0..SENT as u16 {
        let frame = Frame::udp(("192.0.2.1".parse()?, 4000 + port), ("198.51.100.7".parse()?, 443), 1000);
        send(&frame.bytes(), 25, 40)?;
    }
    // GRE with something large inside, and one that nobody has counted.
    let mut gre = Frame::udp(("192.0.2.1".parse()?, 1), ("198.51.100.7".parse()?, 2), 1000).bytes();
    gre[23] = 47;
    send(&gre, 3, 400)?;
    send(&gre, 0, 400)?;
    send(&gre, 1, 400)?;

    let mut records = 0;
    while let Some(record) = programs.record() {
        ensure!((record.segments, record.places) == (25, 20), "{record:?}");
        records += 1;
    }
    let ledger = programs.ledger()?;
    ensure!(ledger.closes(), "{ledger:?}");
    ensure!(ledger.seen == SENT * 25 + 3 + 1 + 1, "{ledger:?}");
    ensure!(ledger.not_flow[ParseError::NotTcpUdp as usize] == 5, "{ledger:?}");
    ensure!(records > 0 && ledger.recorded == records * 20, "{records} records: {ledger:?}");
    // What did not fit into the ring was lost, or shed because the ring was nearly full.
    let kept = SENT - ledger.shed_flows;
    ensure!(ledger.shed_flows > 0 && ledger.ring_full == (kept - records) * 20, "{ledger:?}");
    ensure!(ledger.gated == kept * 5 + ledger.shed_flows * 25, "{ledger:?}");
    ensure!((ledger.super_packets, ledger.unsplit) == (SENT + 2, 1), "{ledger:?}");
    Ok(())
}
