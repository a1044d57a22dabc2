//! tc egress: enforcement by label over label tables of two sizes.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context as _, Result, ensure};
use aya::{maps::HashMap, programs::ProgramFd};
use ntc_common::{
    key::{Address, FlowKey, IPPROTO_TCP},
    label::{Label, Stage},
    limits::SEQUENCE_LENGTH,
    policy::{MARK_MASK_DEFAULT, interface_flags},
};
use ntc_tests::{frames::Frame, kernel::Programs};
use ntc_user::{
    catalogue::Catalogue,
    kernel::{
        heartbeat::Heartbeat,
        load::{self, Settings},
    },
    policy::{BUILT_IN, Policy, PolicyError},
};

use super::programs::{Bench, Hook, Walk};
use crate::{
    report::{Report, Row},
    rounds::interleaved,
};

/// Table sizes, in labels.
const SIZES: [u32; 2] = [1 << 10, 1 << 16];
/// Packets of a row in one round.
const PACKETS: u64 = 1 << 19;
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 0);
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const PORTS: (u16, u16) = (40_000, 443);
const ACK: u8 = 0x10;

const ROWS: [&str; 6] = [
    "TC_ACT_UNSPEC",
    "walk + TC_ACT_UNSPEC",
    "walk + reference (label, priority)",
    "walk + ntc, enforcing",
    "walk + ntc, 8 rules that do not match",
    "walk + ntc, 32 rules that do not match",
];
/// Of them, those of ntc, by the number of the operator's rules.
const RULES: [usize; 3] = [0, 8, 32];
/// The first of those.
const NTC: usize = ROWS.len() - RULES.len();

/// The rows of all sizes.
///
/// # Errors
/// What the kernel said, or a row that did not measure what it says.
pub fn measure(rounds: usize) -> Result<Report> {
    let mut report = Report::new("datapath-tc", "ns a packet at tc egress, by BPF_PROG_TEST_RUN");
    for labels in SIZES {
        let settings = Settings { max_flows: 2 * labels.max(32_768), ..Settings::default() };
        let mut bench = Bench::load(settings.max_flows)?;
        let mut ntc = Programs::load(&settings)?;
        // Inside: outside, the mark of the packet before would count.
        ntc.interface(interface_flags::ENFORCED | interface_flags::CAPTURED_BELOW)?;
        let policies = RULES.map(with_rules);
        fill(&mut bench, &mut ntc, labels)?;
        let heartbeat = Heartbeat::start(&mut ntc.ebpf)?;
        let enforce = ntc.ebpf.program(load::TC_EGRESS).context(load::TC_EGRESS)?.fd()?.try_clone()?;
        let targets: [ProgramFd; 2] = [bench.program("bench_pass_tc")?, bench.program("bench_reference_tc")?];
        let client = (IpAddr::V4(CLIENT), PORTS.0);
        let frame = Frame::tcp(client, (IpAddr::V4(SERVER), PORTS.1), ACK, 10).bytes();
        let walk = Walk { state: 0x9e37_79b9_7f4a_7c15, random: 1, first: 0, mask: u64::from(labels) - 1 };
        let spreads = interleaved(rounds, ROWS.len(), |row| {
            let target = match row {
                0 => return bench.run("bench_pass_tc", Hook::Tc, &frame, PACKETS as u32),
                NTC.. => {
                    let policy = policies.get(row - NTC).context("a policy")?.as_ref();
                    ntc.policy(policy.map_err(|error| anyhow::anyhow!("{error}"))?)?;
                    &enforce
                }
                _ => &targets[row - 1],
            };
            bench.aim(Hook::Tc, target)?;
            bench.walk(walk)?;
            let before = ntc.enforcement()?.labelled;
            let ns = bench.send(Hook::Tc, &frame, PACKETS, || {
                // Labels have to count: a beat that fails shows below.
                let _ = heartbeat.beat(&mut ntc.ebpf);
            })?;
            let labelled = ntc.enforcement()?.labelled - before;
            ensure!(row < NTC || labelled == PACKETS, "only {labelled} of {PACKETS} had a label");
            Ok(ns)
        })?;
        let [floor, walk, reference, ..] = &spreads[..] else { continue };
        for (index, (name, spread)) in ROWS.into_iter().zip(&spreads).enumerate() {
            let mut row = Row::new(format!("{labels} labels: {name}"), *spread);
            if index > 0 {
                row = row.with("without walk", spread.median - walk.median + floor.median);
            }
            if index > 1 {
                row = row
                    .with("own", spread.median - walk.median)
                    .with(
                        "ratio",
                        (spread.median - walk.median + floor.median)
                            / (reference.median - walk.median + floor.median),
                    )
                    .with("own ratio", (spread.median - walk.median) / (reference.median - walk.median));
            }
            report.rows.push(row);
        }
    }
    Ok(report)
}

/// The built-in policy behind so many rules, none of which is for these flows.
fn with_rules(rules: usize) -> Result<Policy, PolicyError> {
    let ports = (1..=rules).map(|port| format!("[[rule]]\nclass = \"realtime\"\nport = {port}\n"));
    let text = BUILT_IN.to_owned() + &ports.collect::<String>();
    Policy::parse("rules", &text, MARK_MASK_DEFAULT)
}

/// The same labels for both.
fn fill(bench: &mut Bench, ntc: &mut Programs, labels: u32) -> Result<()> {
    let service = Catalogue::shipped().by_name("RTP").context("no RTP in the catalogue")?;
    let label = Label {
        start_ns: 1,
        set_at_ns: 1,
        model_epoch: 1,
        service: service.id,
        confidence: u16::MAX,
        stage: Stage::Final as u8,
        class: service.class,
        packets: SEQUENCE_LENGTH as u8,
        acts_as: service.id,
        acts_confidence: u16::MAX,
        changes: 1,
    };
    let mut reference = HashMap::<_, FlowKey, Label>::try_from(
        bench.ebpf().map_mut("LABELS_REFERENCE").context("LABELS_REFERENCE")?,
    )?;
    let mut own = ntc.labels()?;
    for flow in 0..labels {
        let mut key = FlowKey::ZERO;
        let client = Ipv4Addr::from(u32::from(CLIENT) + flow);
        let end = |address: Ipv4Addr, port: u16| (Address::mapped(address.octets()), port.to_be_bytes());
        key.set(end(client, PORTS.0), end(SERVER, PORTS.1), IPPROTO_TCP, 4);
        reference.insert(key, label, 0)?;
        own.insert(key, label, 0)?;
    }
    Ok(())
}
