//! XDP: floor, reference and ntc over tables of several sizes.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context as _, Result, ensure};
use aya::programs::ProgramFd;
use ntc_common::flow::FlowRule;
use ntc_tests::{frames::Frame, kernel::Programs};
use ntc_user::kernel::load::{self, Settings};

use super::{
    memory::of_open_maps,
    programs::{Bench, Hook, Walk},
};
use crate::{
    report::{Report, Row},
    rounds::interleaved,
};

/// Table sizes, in live flows.
const SIZES: [u32; 4] = [1, 1 << 10, 1 << 16, 1 << 20];
/// Packets of a row in one round.
const PACKETS: u64 = 1 << 19;
/// Packets of a flow before it is measured: its sequence is full then.
const FILL_PACKETS: u64 = 24;
/// Longer than any measurement, so that no flow ends while it is measured.
const HOUR_NS: u64 = 3_600_000_000_000;
/// No table is smaller than what ntc has by default; none is fuller than half.
const LEAST_ENTRIES: u32 = 65_536;

/// TCP flags of packets within a connection, and of its first.
const ACK: u8 = 0x10;
const SYN: u8 = 0x02;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// No walk, no work.
    Floor,
    /// The walk and nothing behind it.
    Walk,
    /// Parse and one lookup.
    Reference,
    /// ntc on flows whose sequence is full.
    Established,
    /// ntc, each packet the first of a TCP flow.
    NewTcp,
    /// ntc, each packet the first of a UDP flow.
    NewUdp,
}

const KINDS: [(Kind, &str); 6] = [
    (Kind::Floor, "XDP_PASS"),
    (Kind::Walk, "walk + XDP_PASS"),
    (Kind::Reference, "walk + reference"),
    (Kind::Established, "walk + ntc, established"),
    (Kind::NewTcp, "walk + ntc, new TCP flow each"),
    (Kind::NewUdp, "walk + ntc, new UDP flow each"),
];

/// Programs and tables for one size.
struct Stage {
    live: u32,
    bench: Bench,
    targets: [(Kind, ProgramFd); 5],
    /// Keeps its flows.
    established: Programs,
    /// Gets new ones.
    fresh: Programs,
    ack: Vec<u8>,
    syn: Vec<u8>,
    udp: Vec<u8>,
    /// New flows so far.
    begun: u64,
    /// Those of them that found no room: both their sets were full of flows that are worth more.
    refused: u64,
}

impl Stage {
    fn build(live: u32) -> Result<Self> {
        let max_flows = (2 * live).max(LEAST_ENTRIES);
        let rule = FlowRule { tcp_idle_ns: HOUR_NS, udp_idle_ns: HOUR_NS, ..FlowRule::DEFAULT };
        let settings = Settings { rule, max_flows, ..Settings::default() };
        let bench = Bench::load(max_flows)?;
        let (established, fresh) = (Programs::load(&settings)?, Programs::load(&settings)?);
        let ntc = |programs: &Programs| -> Result<ProgramFd> {
            Ok(programs.ebpf.program(load::XDP).context(load::XDP)?.fd()?.try_clone()?)
        };
        let targets = [
            (Kind::Walk, bench.program("bench_pass")?),
            (Kind::Reference, bench.program("bench_reference")?),
            (Kind::Established, ntc(&established)?),
            (Kind::NewTcp, ntc(&fresh)?),
            (Kind::NewUdp, ntc(&fresh)?),
        ];
        let (client, server) = ((v4(10, 0, 0, 0), 40_000), (v4(192, 0, 2, 1), 443));
        let mut stage = Self {
            live,
            bench,
            targets,
            established,
            fresh,
            ack: Frame::tcp(client, server, ACK, 10).bytes(),
            syn: Frame::tcp(client, server, SYN, 10).bytes(),
            udp: Frame::udp(client, server, 22).bytes(),
            begun: 0,
            refused: 0,
        };
        stage.fill()?;
        Ok(stage)
    }

    fn fill(&mut self) -> Result<()> {
        let live = u64::from(self.live);
        let walk = Walk { state: 0, random: 0, first: 0, mask: live - 1 };
        let fill = self.bench.program("bench_fill")?;
        self.bench.aim(Hook::Xdp, &fill)?;
        self.bench.walk(walk)?;
        self.bench.send(Hook::Xdp, &self.ack, live, || {})?;
        for kind in [Kind::Established, Kind::NewTcp] {
            self.aim(kind)?;
            self.bench.walk(walk)?;
            // Records that find the ring full have their place in the sequence all the same.
            self.bench.send(Hook::Xdp, &self.ack, FILL_PACKETS * live, || {})?;
        }
        Ok(())
    }

    fn aim(&mut self, kind: Kind) -> Result<()> {
        let target = self.targets.iter().find(|(of, _)| *of == kind).context("no such row")?;
        self.bench.aim(Hook::Xdp, &target.1)
    }

    /// ns a packet of one round.
    fn measure(&mut self, kind: Kind) -> Result<f64> {
        if kind == Kind::Floor {
            return self.bench.run("bench_pass", Hook::Xdp, &self.ack, PACKETS as u32);
        }
        self.aim(kind)?;
        let live = u64::from(self.live);
        let random = Walk { state: 0x9e37_79b9_7f4a_7c15, random: 1, first: 0, mask: live - 1 };
        let new = Walk { state: self.begun, random: 0, first: live, mask: u32::MAX.into() };
        self.bench.walk(if matches!(kind, Kind::NewTcp | Kind::NewUdp) { new } else { random })?;
        let (frame, programs) = match kind {
            Kind::NewTcp => (&self.syn, &mut self.fresh),
            Kind::NewUdp => (&self.udp, &mut self.fresh),
            _ => (&self.ack, &mut self.established),
        };
        drain(programs);
        let before = programs.ledger()?;
        let ns = self.bench.send(Hook::Xdp, frame, PACKETS, || drain(programs))?;
        let after = programs.ledger()?;
        match kind {
            // The figures are of what their names say, or there are none.
            Kind::Established => {
                let gated = after.gated - before.gated;
                ensure!(
                    gated * 100 >= PACKETS * 99,
                    "{} live flows: only {gated} of {PACKETS} packets met a flow with a full sequence",
                    self.live
                );
            }
            Kind::NewTcp | Kind::NewUdp => {
                self.begun += PACKETS;
                let new = after.new_flows - before.new_flows;
                let refused = after.table_full - before.table_full;
                self.refused += refused;
                ensure!(
                    (new + refused) * 100 >= PACKETS * 99 && after.ring_full == before.ring_full,
                    "{} live flows: only {new} of {PACKETS} packets began a flow, or the ring was full",
                    self.live
                );
            }
            _ => {}
        }
        Ok(ns)
    }
}

fn drain(programs: &mut Programs) {
    while programs.record().is_some() {}
}

const fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

/// The rows of all sizes.
///
/// # Errors
/// What the kernel said, or a row that did not measure what it says.
pub fn measure(rounds: usize) -> Result<Report> {
    let mut report = Report::new("datapath", "ns a packet at XDP, by BPF_PROG_TEST_RUN");
    for live in SIZES {
        let mut stage = Stage::build(live)?;
        let spreads = interleaved(rounds, KINDS.len(), |row| stage.measure(KINDS[row].0))?;
        let median = |kind: Kind| {
            let row = KINDS.iter().position(|(of, _)| *of == kind);
            row.and_then(|row| spreads.get(row)).map_or(0.0, |spread| spread.median)
        };
        let (floor, walk, reference) = (median(Kind::Floor), median(Kind::Walk), median(Kind::Reference));
        for ((kind, name), spread) in KINDS.into_iter().zip(&spreads) {
            let mut row = Row::new(format!("{live} live: {name}"), *spread);
            if kind != Kind::Floor {
                row = row.with("without walk", spread.median - walk + floor);
            }
            if !matches!(kind, Kind::Floor | Kind::Walk) {
                row = row
                    .with("own", spread.median - walk)
                    .with("ratio", (spread.median - walk + floor) / (reference - walk + floor))
                    .with("own ratio", (spread.median - walk) / (reference - walk));
            }
            report.rows.push(row);
        }
        if stage.refused > 0 {
            let share = 100.0 * stage.refused as f64 / stage.begun as f64;
            report.notes.push(format!("{live} live: {share:.3}% of the new flows found no room."));
        }
    }
    report.notes.push(memory()?);
    Ok(report)
}

/// Kernel memory of ntc's maps with tables of the default size.
fn memory() -> Result<String> {
    let settings = Settings::default();
    let programs = Programs::load(&settings)?;
    let flows = f64::from(settings.max_flows);
    let mut maps = of_open_maps()?;
    let ring = maps.remove("PACKETS").unwrap_or_default() >> 10;
    let (mut text, mut sum) = (String::new(), 0.0);
    for (map, bytes) in maps {
        let each = bytes as f64 / flows;
        sum += each;
        if each >= 1.0 {
            text += &format!(" {map} {each:.0},");
        }
    }
    drop(programs);
    Ok(format!(
        "Kernel memory, bytes a flow of {flows} that fit:{text} all tables {sum:.0}; beside them the ring, {ring} KiB."
    ))
}
