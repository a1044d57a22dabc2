//! What a label does to a packet at tc: mark, priority, code point; and when it does nothing.

use std::net::IpAddr;

use anyhow::{Context as _, ensure};
use ntc_common::{
    label::{Label, Stage},
    link::LinkType,
    offload::Offload,
    packet::Packet,
    parse::parse,
    policy::{MARK_MASK_DEFAULT, interface_flags},
    source::Captured,
};
use ntc_tests::{
    frames::{Frame, checksum},
    kernel::Programs,
};
use ntc_user::{
    catalogue::Catalogue,
    kernel::{
        heartbeat::Heartbeat,
        load::{Settings, TC_EGRESS, TC_INGRESS},
    },
    policy::Policy,
};

const HTB_REALTIME: u32 = 0x0001_0013;
const REALTIME_MARK: u32 = 3 << 16;
const EF: u8 = 46;

struct Bench {
    programs: Programs,
    heartbeat: Heartbeat,
}

impl Bench {
    fn new() -> anyhow::Result<Self> {
        let mut programs = Programs::load(&Settings::default())?;
        programs.interface(interface_flags::ENFORCED)?;
        programs.policy(&Policy::load(None, MARK_MASK_DEFAULT)?)?;
        let heartbeat = Heartbeat::start(&mut programs.ebpf)?;
        Ok(Self { programs, heartbeat })
    }

    fn label(&mut self, frame: &Frame, confidence: f32) -> anyhow::Result<()> {
        let rtp = Catalogue::shipped().by_name("RTP").context("RTP")?;
        let label = Label {
            start_ns: 1,
            set_at_ns: 1,
            model_epoch: 1,
            service: rtp.id,
            confidence: (confidence * 65535.0) as u16,
            stage: Stage::Final as u8,
            class: rtp.class,
            packets: 20,
            acts_as: rtp.id,
            acts_confidence: (confidence * 65535.0) as u16,
            changes: 1,
        };
        self.programs.label(&parsed(&frame.bytes())?.key, &label)
    }
}

fn parsed(bytes: &[u8]) -> anyhow::Result<Packet> {
    let mut packet = Packet::ZERO;
    parse(&Captured::new(bytes, bytes.len()), LinkType::Ethernet, &mut packet)?;
    Ok(packet)
}

fn call(version: u8, port: u16) -> anyhow::Result<Frame> {
    let (a, b): (IpAddr, IpAddr) = match version {
        4 => ("192.0.2.1".parse()?, "198.51.100.1".parse()?),
        _ => ("2001:db8::1".parse()?, "2001:db8::2".parse()?),
    };
    Ok(Frame::udp((a, port), (b, 16_384), 160))
}

#[test]
fn a_label_gives_mark_code_point_and_at_egress_priority() -> anyhow::Result<()> {
    let mut bench = Bench::new()?;
    for (version, ecn) in [(4, 0), (4, 2), (6, 0), (6, 3)] {
        let frame = Frame { tos: ecn, ..call(version, 4000 + u16::from(ecn))? };
        bench.label(&frame, 0.9)?;
        for direction in [frame.clone(), frame.reply(160)] {
            let ingress = bench.programs.tc(TC_INGRESS, &direction.bytes(), 0x0000_00ab)?;
            ensure!(ingress.mark == REALTIME_MARK | 0xab, "other bits of the mark stay: {:#x}", ingress.mark);
            ensure!(ingress.priority == 0, "priority is for egress only");
            let egress = bench.programs.tc(TC_EGRESS, &direction.bytes(), 0)?;
            ensure!((egress.mark, egress.priority) == (REALTIME_MARK, HTB_REALTIME), "{egress:?}");
            for out in [ingress.bytes, egress.bytes] {
                ensure!(parsed(&out)?.dscp == EF, "IPv{version}");
                let marked = Frame { tos: (EF << 2) | ecn, ..direction.clone() };
                ensure!(out == marked.bytes(), "only the code point (and the checksum) may change");
                ensure!(version == 6 || checksum(&out[14..34]) == 0, "the IPv4 checksum is wrong");
            }
        }
    }
    let counts = bench.programs.enforcement()?;
    ensure!(
        (counts.ingress, counts.egress, counts.labelled, counts.remarked) == (8, 8, 16, 16),
        "{counts:?}"
    );
    Ok(())
}

#[test]
fn super_packets_count_as_what_the_wire_carries() -> anyhow::Result<()> {
    let mut bench = Bench::new()?;
    let (a, b) = (("192.0.2.1".parse()?, 4000), ("198.51.100.1".parse()?, 443));
    let frame = Frame::tcp(a, b, 0x18, 2500);
    bench.label(&frame, 0.9)?;
    const HEADERS: u32 = 14 + 20 + 20;
    let offload = Offload { segments: 3, segment_len: 1000, repeated_len: 2 * HEADERS };
    let out = bench.programs.tc_offloaded(TC_EGRESS, &frame.bytes(), offload)?;
    ensure!(out.priority == HTB_REALTIME, "{out:?}");
    // One that was left to itself, and one whose count is a lie: it counts as one.
    bench.programs.tc(TC_EGRESS, &frame.bytes(), 0)?;
    bench.programs.tc_offloaded(TC_EGRESS, &frame.bytes(), Offload { segments: 7, ..offload })?;
    let class = Catalogue::shipped().by_name("RTP").context("RTP")?.class;
    let counter = bench.programs.left("CLASS_COUNTERS", class.into())?;
    let bytes = (3 * HEADERS + 2500) + 2 * (HEADERS + 2500);
    ensure!((counter.packets, counter.bytes) == (3 + 1 + 1, bytes.into()), "{counter:?}, not {bytes} bytes");
    // By ingress as well, whether labels count or not.
    bench.programs.tc_offloaded(TC_INGRESS, &frame.bytes(), offload)?;
    bench.heartbeat.stop(&mut bench.programs.ebpf)?;
    bench.programs.tc_offloaded(TC_INGRESS, &frame.bytes(), offload)?;
    let counts = bench.programs.enforcement()?;
    ensure!((counts.ingress, counts.egress, counts.stale, counts.labelled) == (6, 5, 3, 8), "{counts:?}");
    Ok(())
}

#[test]
fn a_packet_that_carries_a_code_point_keeps_it() -> anyhow::Result<()> {
    let mut bench = Bench::new()?;
    let frame = Frame { tos: 10 << 2, ..call(4, 4000)? };
    bench.label(&frame, 0.9)?;
    let egress = bench.programs.tc(TC_EGRESS, &frame.bytes(), 0)?;
    ensure!(egress.priority == HTB_REALTIME && egress.bytes == frame.bytes());
    Ok(())
}

#[test]
fn doubt_no_label_and_no_heartbeat_leave_packets_alone() -> anyhow::Result<()> {
    let mut bench = Bench::new()?;
    let untouched = |bench: &mut Bench, frame: &Frame, why: &str| {
        for program in [TC_INGRESS, TC_EGRESS] {
            let out = bench.programs.tc(program, &frame.bytes(), 0)?;
            ensure!((out.mark, out.priority) == (0, 0) && out.bytes == frame.bytes(), "{why}: {out:?}");
        }
        anyhow::Ok(())
    };
    let doubtful = call(4, 4001)?;
    bench.label(&doubtful, 0.4)?;
    untouched(&mut bench, &doubtful, "the policy asks for 0.5")?;
    untouched(&mut bench, &call(4, 4002)?, "no label")?;

    let sure = call(4, 4003)?;
    bench.label(&sure, 0.9)?;
    ensure!(bench.programs.tc(TC_EGRESS, &sure.bytes(), 0)?.priority == HTB_REALTIME);
    bench.heartbeat.stop(&mut bench.programs.ebpf)?;
    untouched(&mut bench, &sure, "the heartbeat has stopped")?;
    ensure!(bench.programs.enforcement()?.stale == 2);
    bench.heartbeat.beat(&mut bench.programs.ebpf)?;
    ensure!(bench.programs.tc(TC_EGRESS, &sure.bytes(), 0)?.priority == HTB_REALTIME, "it beats again");
    Ok(())
}

#[test]
fn behind_nat_the_mark_carries_the_class() -> anyhow::Result<()> {
    let mut bench = Bench::new()?;
    let translated = call(4, 50_000)?;
    let out = bench.programs.tc(TC_EGRESS, &translated.bytes(), REALTIME_MARK)?;
    ensure!(out.priority == HTB_REALTIME && parsed(&out.bytes)?.dscp == EF, "{out:?}");
    ensure!(bench.programs.enforcement()?.by_mark == 1);
    Ok(())
}

#[test]
fn a_new_flow_on_a_key_ends_the_old_label_and_a_forgotten_flow_keeps_it() -> anyhow::Result<()> {
    let mut bench = Bench::new()?;
    bench.programs.interface(interface_flags::CAPTURED_AT_TC)?;
    let (a, b) = (("192.0.2.1".parse()?, 4000), ("198.51.100.1".parse()?, 443));
    let (syn, data) = (Frame::tcp(a, b, 0x02, 0), Frame::tcp(a, b, 0x18, 100));

    // The table does not know the flow, its label lives, and no SYN says that it is new: an eviction.
    bench.label(&data, 0.9)?;
    bench.programs.tc(TC_INGRESS, &data.bytes(), 0)?;
    ensure!(bench.programs.record().is_none(), "a resumed flow is not recorded again");
    let key = parsed(&data.bytes())?.key;
    ensure!(bench.programs.labels()?.get(&key, 0).is_ok(), "its label stays");

    // Another flow on a key that has a label, with a SYN.
    let fresh = Frame { source: ("192.0.2.2".parse()?, 4000), ..syn };
    bench.label(&fresh, 0.9)?;
    bench.programs.tc(TC_INGRESS, &fresh.bytes(), 0)?;
    let key = parsed(&fresh.bytes())?.key;
    ensure!(bench.programs.labels()?.get(&key, 0).is_err(), "the label was another flow's");

    // RST closes, SYN begins anew: the label of the closed flow ends.
    let reset = Frame { tcp: Some(0x04), ..fresh.clone() };
    bench.label(&fresh, 0.9)?;
    bench.programs.tc(TC_INGRESS, &reset.bytes(), 0)?;
    ensure!(bench.programs.labels()?.get(&key, 0).is_ok(), "closed, but nobody needs the key yet");
    bench.programs.tc(TC_INGRESS, &fresh.bytes(), 0)?;
    ensure!(bench.programs.labels()?.get(&key, 0).is_err(), "the key belongs to a new flow");
    let ledger = bench.programs.ledger()?;
    ensure!((ledger.new_flows, ledger.resumed_flows) == (2, 1) && ledger.closes(), "{ledger:?}");
    Ok(())
}
