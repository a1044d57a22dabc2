//! Every packet goes one way, also when there are too many of them.

use std::{collections::HashMap, time::Duration};

use anyhow::ensure;
use aya::programs::{Xdp, XdpMode};
use ntc_common::{flow::End, key::FlowKey, limits::SEQUENCE_LENGTH, packet::tcp_flags};
use ntc_tests::{frames::Frame, kernel::Programs, net::Namespace, wire::RawSocket};
use ntc_user::{
    kernel::load::{self, Settings},
    sequence::Sequence,
};

const FLOWS: u16 = 3000;
const PACKETS: usize = 30;
/// A ring for some hundred records: the flood overflows it many times over.
const RING_BYTES: u32 = 32_768;

/// The payload tells flow and place, so that a record in the wrong place shows.
fn payload(flow: u16, index: usize) -> usize {
    usize::from(flow % 16) * 32 + index
}

#[test]
fn a_flood_overflows_the_ring_and_no_sequence_is_wrong() -> anyhow::Result<()> {
    let (sender, receiver) = (Namespace::new()?, Namespace::new()?);
    receiver.veth("r0", &sender, "s0")?;
    let settings = Settings { ring_bytes: RING_BYTES, ..Settings::default() };
    let mut programs = Programs::load(&settings)?;
    receiver.enter(|| {
        let xdp: &mut Xdp = load::program(&mut programs.ebpf, load::XDP)?;
        Ok(xdp.attach("r0", XdpMode::Default)?)
    })?;

    let mut sequences: HashMap<FlowKey, Sequence> = HashMap::new();
    let mut read = 0u64;
    let (half, sent) = std::sync::mpsc::sync_channel::<()>(0);
    std::thread::scope(|scope| {
        let flood = scope.spawn(|| {
            sender.enter(move || {
                let socket = RawSocket::open("s0")?;
                for index in 0..PACKETS {
                    for flow in 0..FLOWS {
                        let source = ("192.0.2.1".parse()?, 10_000 + flow);
                        let frame = Frame::udp(source, ("198.51.100.1".parse()?, 53), payload(flow, index));
                        socket.send(&frame.bytes())?;
                    }
                    if index % 8 == 7 {
                        // Now the ring may be emptied: parts of sequences get through.
                        half.send(())?;
                    }
                }
                Ok(())
            })
        });
        let mut drain = |programs: &mut Programs| -> anyhow::Result<()> {
            while let Some(record) = programs.record() {
                read += 1;
                ensure!(sequences.entry(record.key).or_default().place(&record), "{record:?} fits nowhere");
            }
            Ok(())
        };
        while sent.recv().is_ok() {
            drain(&mut programs)?;
        }
        flood.join().map_err(|_| anyhow::anyhow!("the flood died"))??;
        drain(&mut programs)
    })?;

    let ledger = programs.ledger()?;
    println!("{ledger:?}, {read} records read");
    ensure!(ledger.closes(), "{ledger:?}");
    ensure!(ledger.seen == u64::from(FLOWS) * PACKETS as u64, "sent and seen differ: {ledger:?}");
    ensure!(ledger.recorded == read, "recorded and read differ");
    ensure!(ledger.ring_full > 0, "the ring did not overflow");
    // New flows are shed while the ring is nearly full; the others are owed all their places.
    ensure!(ledger.shed_flows > 0 && ledger.new_flows == u64::from(FLOWS), "{ledger:?}");
    let owed = (u64::from(FLOWS) - ledger.shed_flows) * SEQUENCE_LENGTH as u64;
    ensure!(ledger.recorded + ledger.ring_full == owed, "{ledger:?}");
    ensure!(ledger.gated == ledger.seen - owed, "{ledger:?}");
    let mut lost = 0;
    for (key, sequence) in &sequences {
        let flow = u16::from_be_bytes(key.lower_port) - 10_000;
        for (index, packet) in sequence.packets().iter().enumerate() {
            ensure!(
                packet.payload_len as usize == payload(flow, index),
                "flow {flow}, packet {index}: {packet:?}"
            );
        }
        lost += u64::from(sequence.holes());
    }
    ensure!(lost <= ledger.ring_full, "{lost} holes, {} records lost", ledger.ring_full);
    Ok(())
}

#[test]
fn two_processors_on_one_flow_give_every_packet_its_own_place() -> anyhow::Result<()> {
    const RUNS: u32 = 64;
    let mut programs = Programs::load(&Settings::default())?;
    for run in 0..RUNS {
        let source = ("192.0.2.9".parse()?, 20_000 + run as u16);
        let frame = Frame::udp(source, ("198.51.100.9".parse()?, 53), 100).bytes();
        let xdp: &Xdp = match programs.ebpf.program(load::XDP) {
            Some(program) => program.try_into()?,
            None => anyhow::bail!("no XDP program"),
        };
        let barrier = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            let runs: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        use aya::programs::{TestRun as _, TestRunOptions};
                        xdp.test_run(TestRunOptions {
                            data_in: Some(&frame),
                            repeat: 50,
                            ..TestRunOptions::new()
                        })
                    })
                })
                .collect();
            runs.into_iter().try_for_each(|run| match run.join() {
                Ok(result) => Ok(result.map(drop)?),
                Err(_) => anyhow::bail!("a thread died"),
            })
        })?;
        let mut sequence = Sequence::default();
        while let Some(record) = programs.record() {
            ensure!(sequence.place(&record), "run {run}: place {} is given twice", record.index);
        }
        ensure!(sequence.is_full() && sequence.holes() == 0, "run {run}: {sequence:?}");
    }
    let ledger = programs.ledger()?;
    ensure!(ledger.closes() && ledger.seen == u64::from(RUNS) * 100, "{ledger:?}");
    ensure!(ledger.recorded == u64::from(RUNS) * SEQUENCE_LENGTH as u64, "{ledger:?}");
    Ok(())
}

#[test]
fn a_flow_costs_a_sequence_of_records_and_two_wake_ups_at_most() -> anyhow::Result<()> {
    let mut programs = Programs::load(&Settings::default())?;
    let wake_ups = programs.wake_ups()?;
    let frame = Frame::udp(("192.0.2.7".parse()?, 7777), ("198.51.100.7".parse()?, 53), 100).bytes();
    let (mut woken, mut records) = (0, 0);
    for packet in 0..SEQUENCE_LENGTH + 10 {
        programs.xdp(&frame)?;
        // The wake-up comes by an interrupt that the kernel sends itself. Where none is to be, waiting shows it.
        let within =
            if packet + 1 == SEQUENCE_LENGTH { Duration::from_secs(5) } else { Duration::from_millis(2) };
        woken += u32::from(wake_ups.next(within)?);
    }
    while programs.record().is_some() {
        records += 1;
    }
    ensure!(records == SEQUENCE_LENGTH, "{records} records");
    ensure!((1..=2).contains(&woken), "{woken} wake-ups");

    // A scan makes nothing but refused connections.
    let (client, server) = (("192.0.2.7".parse()?, 7778), ("198.51.100.7".parse()?, 81));
    for frame in
        [Frame::tcp(client, server, tcp_flags::SYN, 0), Frame::tcp(server, client, tcp_flags::RST, 0)]
    {
        programs.xdp(&frame.bytes())?;
    }
    ensure!(!wake_ups.next(Duration::from_millis(20))?, "a refused connection woke the agent");
    ensure!(
        programs.record().is_some() && programs.record().is_some_and(|record| record.end == End::Rst as u8)
    );
    Ok(())
}
