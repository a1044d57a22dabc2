//! Real packets over a real link: what the kernel makes of them is what `ntc extract` makes of the file.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use aya::programs::{Xdp, XdpMode};
use ntc_common::{
    flow::FlowRule, key::FlowKey, link::LinkType, packet::Packet, parse::parse, source::Captured,
};
use ntc_tests::{corpus, kernel::Programs, net::Namespace, wire::RawSocket};
use ntc_user::{
    capture::{
        file::{CaptureFile, Frame, find_captures},
        table::{EndedFlow, FlowTable},
    },
    clock,
    kernel::load::{self, Settings},
    sequence::Sequence,
};

/// Flows of the test; `NTC_REPLAY=all` takes all of the corpus, in rounds.
const SAMPLE: usize = 400;
/// Flows of a round: more first packets at once would be late by more than [`JITTER_NS`].
const ROUND: usize = 4000;
/// Room for all records of a round: the ring is read at its end only.
const RING_BYTES: u32 = 16 << 20;
/// Flows are shorter than this.
const LONGEST_NS: u64 = 10_000_000_000;
/// Between the sender's clock reading and the XDP program's: another program may have the processor.
const JITTER_NS: u64 = 20_000_000;

struct Planned {
    at_ns: u64,
    bytes: Vec<u8>,
}

type Flows = BTreeMap<FlowKey, Vec<Planned>>;

/// Whole Ethernet frames of short flows of the corpus, each flow moved to time 0 so that all of a round run at once.
/// Flows on a key that the round has already get other addresses.
fn plan(corpus: &corpus::Corpus, whole: bool) -> anyhow::Result<Vec<Flows>> {
    let mut rounds: Vec<Flows> = vec![Flows::new()];
    let mut repeats: HashMap<FlowKey, u16> = HashMap::new();
    for path in
        find_captures(std::slice::from_ref(&corpus.captures))?.iter().step_by(if whole { 1 } else { 7 })
    {
        for (key, mut frames) in short_flows(path)? {
            let repeat = repeats.entry(key).or_default();
            let mut named = key;
            for frame in &mut frames {
                named = renamed(&mut frame.bytes, *repeat)?;
            }
            *repeat += 1;
            if rounds.last().is_none_or(|round| round.len() == ROUND || round.contains_key(&named)) {
                rounds.push(Flows::new());
            }
            if let Some(round) = rounds.last_mut() {
                round.insert(named, frames);
            }
            if !whole && rounds[0].len() == SAMPLE {
                return Ok(rounds);
            }
        }
    }
    Ok(rounds)
}

/// Changes both addresses by `repeat` and returns the packet's key.
fn renamed(frame: &mut [u8], repeat: u16) -> anyhow::Result<FlowKey> {
    let mut packet = Packet::ZERO;
    parse(&Captured::new(frame, frame.len()), LinkType::Ethernet, &mut packet)?;
    let (first, size) = if packet.key.ip_version == 4 { (12, 4) } else { (8, 16) };
    for address in [first, first + size] {
        let at = usize::from(packet.ip_offset) + address;
        frame[at] ^= repeat.to_be_bytes()[0];
        frame[at + 1] ^= repeat.to_be_bytes()[1];
    }
    parse(&Captured::new(frame, frame.len()), LinkType::Ethernet, &mut packet)?;
    Ok(packet.key)
}

/// The flows of a capture that are short enough, their times from 0.
fn short_flows(path: &Path) -> anyhow::Result<Flows> {
    let mut flows = Flows::new();
    let mut file = CaptureFile::open(path)?;
    while let Some(frame) = file.next_frame() {
        let frame = frame?;
        let mut packet = Packet::ZERO;
        let source = Captured::new(frame.data, frame.wire_len as usize);
        let ethernet = LinkType::from_linktype(frame.link_type)? == LinkType::Ethernet;
        if !ethernet || parse(&source, LinkType::Ethernet, &mut packet).is_err() || packet.zero_ip_len {
            continue;
        }
        let mut bytes = frame.data.to_vec();
        bytes.resize(frame.wire_len as usize, 0);
        flows.entry(packet.key).or_default().push(Planned { at_ns: frame.timestamp_ns, bytes });
    }
    flows.retain(|_, frames| {
        frames.sort_by_key(|frame| frame.at_ns);
        let start = frames.first().map_or(0, |frame| frame.at_ns);
        frames.iter_mut().for_each(|frame| frame.at_ns -= start);
        frames.last().is_some_and(|frame| frame.at_ns < LONGEST_NS)
    });
    Ok(flows)
}

/// What `ntc extract` would write of these packets.
fn extracted(frames: &[Planned]) -> HashMap<FlowKey, EndedFlow> {
    let mut table = FlowTable::new(FlowRule::DEFAULT);
    let mut flows = HashMap::new();
    let mut ended = |flow: EndedFlow| {
        flows.entry(flow.id.key).or_insert(flow);
    };
    for Planned { at_ns, bytes } in frames {
        let frame = Frame { timestamp_ns: *at_ns, link_type: 1, wire_len: bytes.len() as u32, data: bytes };
        let _ = table.packet(&frame, &mut ended);
    }
    table.finish(&mut ended);
    flows
}

fn same(live: &Sequence, file: &Sequence) -> anyhow::Result<()> {
    let (live, file) = (live.packets(), file.packets());
    ensure!(live.len() == file.len(), "{} packets live, {} in the file", live.len(), file.len());
    for (index, (a, b)) in live.iter().zip(file).enumerate() {
        ensure!(
            (a.payload_len, a.window, a.direction, a.tcp_flags)
                == (b.payload_len, b.window, b.direction, b.tcp_flags),
            "packet {index}: live {a:?}, file {b:?}"
        );
        let (a, b) = (Sequence::gap_ns(live, index), Sequence::gap_ns(file, index));
        ensure!(
            a.abs_diff(b) < JITTER_NS,
            "packet {index}: {a} ns after the one before live, {b} ns in the file"
        );
    }
    Ok(())
}

#[test]
fn a_live_replay_gives_the_sequences_of_the_file() -> anyhow::Result<()> {
    let Some(corpus) = corpus::open("replay")? else { return Ok(()) };
    let whole = std::env::var_os("NTC_REPLAY").is_some_and(|value| value == "all");
    let rounds = plan(&corpus, whole)?;
    let count = rounds.len();
    for (number, flows) in (1..).zip(rounds) {
        let (flows, packets) = replay(flows)?;
        println!("round {number} of {count}: {flows} flows, {packets} packets");
    }
    Ok(())
}

fn replay(flows: Flows) -> anyhow::Result<(usize, usize)> {
    let mut frames: Vec<_> = flows.into_values().flatten().collect();
    frames.sort_by_key(|frame| frame.at_ns);
    let (sender, receiver) = (Namespace::new()?, Namespace::new()?);
    receiver.veth("r0", &sender, "s0")?;
    let mut programs = Programs::load(&Settings { ring_bytes: RING_BYTES, ..Settings::default() })?;
    receiver.enter(|| {
        let xdp: &mut Xdp = load::program(&mut programs.ebpf, load::XDP)?;
        Ok(xdp.attach("r0", XdpMode::Default)?)
    })?;
    sender.enter(|| {
        let socket = RawSocket::open("s0")?;
        let start = Instant::now();
        for frame in &mut frames {
            let due = Duration::from_nanos(frame.at_ns);
            std::thread::sleep(due.saturating_sub(start.elapsed()));
            // From here on the time at which it was really sent.
            frame.at_ns = clock::monotonic_ns();
            socket.send(&frame.bytes).with_context(|| format!("a frame of {} bytes", frame.bytes.len()))?;
        }
        Ok(())
    })?;

    let mut live: HashMap<(FlowKey, u64), Sequence> = HashMap::new();
    let mut recorded = 0;
    while let Some(record) = programs.record() {
        recorded += 1;
        ensure!(
            live.entry((record.key, record.start_ns)).or_default().place(&record),
            "{record:?} fits nowhere"
        );
    }
    let ledger = programs.ledger()?;
    ensure!(ledger.closes() && ledger.dropped() == 0, "{ledger:?}");
    ensure!(ledger.recorded == recorded && ledger.seen == frames.len() as u64, "{ledger:?}");

    let mut first: HashMap<FlowKey, (u64, &Sequence)> = HashMap::new();
    for ((key, start_ns), sequence) in &live {
        let known = first.entry(*key).or_insert((*start_ns, sequence));
        if *start_ns < known.0 {
            *known = (*start_ns, sequence);
        }
    }
    let expected = extracted(&frames);
    ensure!(first.len() == expected.len(), "{} flows live, {} in the file", first.len(), expected.len());
    for (key, flow) in &expected {
        let (_, sequence) = first.get(key).with_context(|| format!("{key:?} was not seen"))?;
        same(sequence, &flow.sequence).with_context(|| format!("{:?}", flow.id))?;
    }
    Ok((expected.len(), frames.len()))
}
