//! One parser: the XDP program, the tc program and the host see the same in every packet.

use anyhow::{Context as _, ensure};
use ntc_common::{
    error::ParseError, flow::FlowRule, link::LinkType, packet::Packet, parse::parse, record::PacketRecord,
    source::Captured,
};
use ntc_tests::{corpus, frames::Frame, kernel::Programs};
use ntc_user::{
    capture::file::{CaptureFile, find_captures},
    kernel::load::{Settings, TC_INGRESS},
};

/// Every packet leaves a record, none closes its flow.
const EVERY_PACKET: FlowRule = FlowRule { sequence_length: u64::MAX, close: 0, ..FlowRule::DEFAULT };

struct Parity {
    programs: Programs,
    compared: [u64; 2],
    /// Frames that `BPF_PROG_TEST_RUN` does not take: without room for an IP header, or too long.
    refused: [u64; 2],
}

impl Parity {
    fn new() -> anyhow::Result<Self> {
        let settings = Settings { rule: EVERY_PACKET, max_flows: 1 << 20, ..Settings::default() };
        Ok(Self { programs: Programs::load(&settings)?, compared: [0; 2], refused: [0; 2] })
    }

    /// Compares both programs with the host on one Ethernet frame.
    fn frame(&mut self, frame: &[u8]) -> anyhow::Result<()> {
        let mut host = Packet::ZERO;
        let parsed = parse(&Captured::new(frame, frame.len()), LinkType::Ethernet, &mut host).map(|()| host);
        for (hook, refused) in [(0, "XDP"), (1, "tc")] {
            let before = parsed.is_err().then(|| self.programs.ledger()).transpose()?;
            let ran = match hook {
                0 => self.programs.xdp(frame).is_ok(),
                _ => self.programs.tc(TC_INGRESS, frame, 0).is_ok(),
            };
            if !ran {
                self.refused[hook] += 1;
                continue;
            }
            self.compared[hook] += 1;
            let record = self.programs.record();
            same(&parsed, record.as_ref()).with_context(|| format!("{refused}: {frame:02x?}"))?;
            if let (Err(error), Some(before)) = (&parsed, before) {
                let counted = |ledger: &ntc_common::ledger::Ledger| ledger.not_flow[*error as usize];
                let after = self.programs.ledger()?;
                ensure!(
                    counted(&after) == counted(&before) + 1,
                    "{refused}: {error} is not counted: {frame:02x?}"
                );
            }
        }
        Ok(())
    }

    fn finish(&self) -> anyhow::Result<()> {
        let ledger = self.programs.ledger()?;
        println!("compared {:?} at XDP and tc, refused by the kernel {:?}", self.compared, self.refused);
        ensure!(ledger.closes() && ledger.seen == self.compared.iter().sum::<u64>(), "{ledger:?}");
        Ok(())
    }
}

fn same(host: &Result<Packet, ParseError>, record: Option<&PacketRecord>) -> anyhow::Result<()> {
    match (host, record) {
        (Err(_), None) => {}
        (Ok(packet), Some(record)) => {
            let sender_is_upper = record.upper_is_source() != (record.direction() == 1);
            ensure!(
                (
                    packet.key,
                    packet.from_upper,
                    packet.payload_len,
                    packet.window,
                    packet.tcp_flags,
                    packet.vlan
                ) == (
                    record.key,
                    sender_is_upper,
                    record.payload_len,
                    record.window,
                    record.tcp_flags,
                    record.vlan
                ),
                "host {packet:?}, kernel {record:?}"
            );
        }
        _ => anyhow::bail!("host {host:?}, kernel {record:?}"),
    }
    Ok(())
}

/// An Ethernet frame as long as the packet was on the wire: bytes that a snap length took are 0. Packets of
/// other link types get an Ethernet header.
fn as_ethernet(link: LinkType, data: &[u8], wire_len: usize) -> Option<Vec<u8>> {
    let mut frame = if link == LinkType::Ethernet {
        data.to_vec()
    } else {
        let mut packet = Packet::ZERO;
        parse(&Captured::new(data, wire_len), link, &mut packet).ok()?;
        let start = usize::from(packet.ip_offset);
        let ethertype = if packet.key.ip_version == 4 { [0x08, 0x00] } else { [0x86, 0xdd] };
        [&[0; 12], &ethertype[..], &data[start..]].concat()
    };
    let start = if link == LinkType::Ethernet { 0 } else { data.len() - (frame.len() - 14) };
    let header = if link == LinkType::Ethernet { 0 } else { 14 };
    frame.resize(frame.len().max(wire_len - start + header), 0);
    Some(frame)
}

/// Names the variable that says how many packets of the corpus stand for all of it: each so-manyth is compared.
const EVERY: &str = "NTC_PARITY_EVERY";

#[test]
fn kernel_and_host_agree_on_the_corpus() -> anyhow::Result<()> {
    let Some(corpus) = corpus::open("parity on the corpus")? else { return Ok(()) };
    let every: u64 = std::env::var(EVERY).map_or(Ok(1), |every| every.parse()).context(EVERY)?;
    let mut packets = 0;
    let mut parity = Parity::new()?;
    for path in find_captures(&[corpus.captures])? {
        let mut file = CaptureFile::open(&path)?;
        while let Some(frame) = file.next_frame() {
            let frame = frame?;
            packets += 1;
            if packets % every != 0 {
                continue;
            }
            let link = LinkType::from_linktype(frame.link_type)?;
            if let Some(bytes) = as_ethernet(link, frame.data, frame.wire_len as usize) {
                parity.frame(&bytes).with_context(|| path.display().to_string())?;
            }
        }
    }
    parity.finish()
}

/// xorshift64*: the same damage on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }
}

fn shapes() -> anyhow::Result<Vec<Vec<u8>>> {
    let v4 = (("192.0.2.1".parse()?, 4000), ("198.51.100.7".parse()?, 53));
    let v6 = (("2001:db8::1".parse()?, 4000), ("2001:db8::2".parse()?, 443));
    let mut shapes = Vec::new();
    for (a, b) in [v4, v6] {
        for plain in [Frame::udp(a, b, 40).bytes(), Frame::tcp(a, b, 0x18, 40).bytes()] {
            let (head, tail) = plain.split_at(12);
            let ethertype = [tail[0], tail[1]];
            let ip = &tail[2..];
            let ppp: [u8; 2] = if ethertype == [0x08, 0x00] { [0x00, 0x21] } else { [0x00, 0x57] };
            let tags = |count: usize| -> Vec<u8> {
                (0..count).flat_map(|tag| [[0x81, 0x00], [0x00, 10 + tag as u8]]).flatten().collect()
            };
            for count in 1..=5 {
                shapes.push([head, &tags(count), tail].concat());
            }
            shapes.push([head, &[0x88, 0xa8, 0x01, 0x00, 0x81, 0x00, 0x00, 0x07], tail].concat());
            shapes.push([head, &[0x88, 0x64, 0x11, 0, 0, 1, 0, 0], &ppp, ip].concat());
            shapes.push([head, &[0x81, 0, 0, 7, 0x88, 0x64, 0x11, 0, 0, 1, 0, 0], &ppp, ip].concat());
            for labels in 1..=5u8 {
                let stack = (1..=labels).flat_map(|n| [0, 1, u8::from(n == labels), 64]);
                shapes.push([head, &[0x88, 0x47], &stack.collect::<Vec<_>>(), ip].concat());
            }
            shapes.push(plain);
        }
    }
    // IPv4 with options, and IPv6 with chains of extension headers.
    let v4_udp = Frame::udp(v4.0, v4.1, 40).bytes();
    for words in 1..=10u8 {
        let mut options = v4_udp.clone();
        options.splice(34..34, vec![1; usize::from(words) * 4]);
        options[14] = 0x45 + words;
        let len = (options.len() - 14) as u16;
        options[16..18].copy_from_slice(&len.to_be_bytes());
        shapes.push(options);
    }
    let v6_tcp = Frame::tcp(v6.0, v6.1, 0x02, 0).bytes();
    for headers in 1..=9 {
        for kind in [0, 43, 44, 51, 60] {
            let mut chain = Vec::new();
            for n in 0..headers {
                let next = if n + 1 == headers { 6 } else { kind };
                chain.extend_from_slice(&[next, if kind == 51 { 4 } else { 0 }, 0, 0, 0, 0, 0, 0]);
                chain.resize(chain.len() + if kind == 51 { 16 } else { 0 }, 0);
            }
            let mut frame = v6_tcp.clone();
            frame[20] = kind;
            let len = (frame.len() - 54 + chain.len()) as u16;
            frame[18..20].copy_from_slice(&len.to_be_bytes());
            frame.splice(54..54, chain);
            shapes.push(frame);
        }
    }
    Ok(shapes)
}

#[test]
fn kernel_and_host_agree_on_damaged_packets() -> anyhow::Result<()> {
    let mut parity = Parity::new()?;
    let shapes = shapes()?;
    for shape in &shapes {
        for end in 14..=shape.len() {
            parity.frame(&shape[..end])?;
        }
    }
    let mut random = Random(0x6e74_6331);
    for _ in 0..10_000 {
        let mut frame = shapes[random.below(shapes.len())].clone();
        for _ in 0..=random.below(4) {
            // Mostly in the headers.
            let at = 12 + random.below(frame.len().min(90) - 12);
            frame[at] = random.below(256) as u8;
        }
        parity.frame(&frame)?;
    }
    parity.finish()
}

#[test]
fn the_verifier_has_room_to_spare() -> anyhow::Result<()> {
    let programs = Programs::load(&Settings::default())?;
    for (name, program) in programs.ebpf.programs() {
        let verified = program.info()?.verified_instruction_count().unwrap_or(0);
        println!("{name}: {verified} instructions verified");
        ensure!(verified < 500_000, "{name}: {verified} of the kernel's million");
    }
    Ok(())
}
