//! What offline reading and inference cost: `cargo xtask bench`.
//!
//! One line a measurement, median of [`ROUNDS`] rounds with the extremes beside it. The capture is made here: 1M
//! packets in 50k flows, half TCP, so that nobody needs a file to repeat it.

use std::{hint::black_box, path::Path, time::Instant};

use ntc_common::flow::FlowRule;
use ntc_user::{
    capture::{
        file::{CaptureFile, Frame},
        table::FlowTable,
    },
    classify::Model,
    features::FLOW_VALUES,
};

const ROUNDS: usize = 5;
const FLOWS: u32 = 50_000;
const PACKETS: u32 = 20;
const FLOWS_AT_ONCE: u32 = 1000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("bench.pcap");
    std::fs::write(&file, capture())?;
    let packets = f64::from(FLOWS * PACKETS);
    println!("{:<44} {:>12} {:>12} {:>12}", "one thread", "median", "lowest", "highest");
    measure("capture file, frames/s", packets, || read(&file, |_| {}))?;
    measure("parser and flow table, packets/s", packets, || {
        let mut table = FlowTable::new(FlowRule::DEFAULT);
        let mut ended = 0u64;
        read(&file, |frame| {
            // What is no flow is counted by the table.
            let _ = table.packet(&frame, &mut |_| ended += 1);
        })?;
        table.finish(&mut |_| ended += 1);
        assert_eq!(black_box(ended), u64::from(FLOWS));
        Ok(())
    })?;
    let mut model = Model::load(None, None)?;
    for batch in [1, 8, 32, 128] {
        // Random values would never pad; these do, as half of all flows.
        let values: Vec<f32> =
            (0..batch * FLOW_VALUES).map(|i| if i % 240 < 120 { (i % 1400) as f32 } else { 0.0 }).collect();
        let calls = (2048 / batch).max(1);
        let name = format!("{}, batch {batch}, flows/s", model.title());
        measure(&name, (calls * batch) as f64, || {
            let mut answers = Vec::with_capacity(batch);
            for _ in 0..calls {
                answers.clear();
                model.classify(black_box(&values), &mut answers)?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn measure(
    name: &str,
    units: f64,
    mut work: impl FnMut() -> Result<(), Box<dyn std::error::Error>>,
) -> Result<(), Box<dyn std::error::Error>> {
    work()?;
    let mut rates = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let start = Instant::now();
        work()?;
        rates.push(units / start.elapsed().as_secs_f64());
    }
    rates.sort_by(f64::total_cmp);
    println!("{name:<44} {:>12.0} {:>12.0} {:>12.0}", rates[ROUNDS / 2], rates[0], rates[ROUNDS - 1]);
    Ok(())
}

fn read(file: &Path, mut packet: impl FnMut(Frame<'_>)) -> Result<(), Box<dyn std::error::Error>> {
    let mut file = CaptureFile::open(file)?;
    while let Some(frame) = file.next_frame() {
        packet(frame?);
    }
    Ok(())
}

/// A pcap file: groups of a thousand flows, their packets taking turns.
fn capture() -> Vec<u8> {
    let mut out = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    let mut microseconds = 0u32;
    for group in 0..FLOWS / FLOWS_AT_ONCE {
        for packet in 0..PACKETS {
            for member in 0..FLOWS_AT_ONCE {
                let flow = group * FLOWS_AT_ONCE + member;
                microseconds += 10;
                let frame = frame(flow, packet % 2 == 1, flow.is_multiple_of(2));
                for word in [
                    microseconds / 1_000_000,
                    microseconds % 1_000_000,
                    frame.len() as u32,
                    frame.len() as u32,
                ] {
                    out.extend_from_slice(&word.to_le_bytes());
                }
                out.extend_from_slice(&frame);
            }
        }
    }
    out
}

/// A packet with 64 bytes of payload, headers as on Ethernet.
fn frame(flow: u32, back: bool, tcp: bool) -> Vec<u8> {
    const PAYLOAD: usize = 64;
    let (client, server) = ([10, 0, (flow >> 8) as u8, flow as u8], [192, 0, 2, 1]);
    let (client_port, server_port) = (40_000 + (flow >> 16) as u16, if tcp { 443u16 } else { 53 });
    let header = if tcp { 20 } else { 8 };
    let mut out = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
    out.extend_from_slice(&[0x45, 0]);
    out.extend_from_slice(&((20 + header + PAYLOAD) as u16).to_be_bytes());
    out.extend_from_slice(&[0, 0, 0x40, 0, 64, if tcp { 6 } else { 17 }, 0, 0]);
    let (from, to) = if back { (server, client) } else { (client, server) };
    out.extend_from_slice(&from);
    out.extend_from_slice(&to);
    let (from, to) = if back { (server_port, client_port) } else { (client_port, server_port) };
    out.extend_from_slice(&from.to_be_bytes());
    out.extend_from_slice(&to.to_be_bytes());
    if tcp {
        out.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x18, 0xfa, 0xf0, 0, 0, 0, 0]);
    } else {
        out.extend_from_slice(&((8 + PAYLOAD) as u16).to_be_bytes());
        out.extend_from_slice(&[0, 0]);
    }
    out.resize(out.len() + PAYLOAD, 0);
    out
}
