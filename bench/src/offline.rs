//! `ntc extract` and `ntc classify` as a user runs them, on one processor.

use std::{
    hint::black_box,
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use ntc_common::flow::FlowRule;
use ntc_tests::agent;
use ntc_user::{
    batch::BATCH_FLOWS,
    capture::{
        file::CaptureFile,
        table::{EndedFlow, FlowTable},
    },
    features::{self, FLOW_VALUES},
};

use crate::{
    capture::{self, FLOWS, PACKETS},
    inference::Bare,
    peers,
    report::{Report, Row},
    rounds::{Spread, interleaved},
};

/// What a row runs.
enum Work {
    /// A program, to its end.
    Program(Command),
    /// ONNX Runtime on the capture's flows, in batches as `ntc classify` makes them.
    Bare(Box<Bare>, Vec<f32>),
    /// The stages before it, in this process: read frames, and perhaps account them to flows.
    Reader { flows: bool },
}

/// The rows.
///
/// # Errors
/// A program that failed.
pub fn measure(rounds: usize) -> Result<Report> {
    let mut report = Report::new("offline", "packets/s on one processor");
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("bench.pcap");
    capture::write(&file)?;
    let ntc = agent::binary()?;
    let library = ntc_tests::root().join(".tools/onnxruntime/libonnxruntime.so");
    let verb = |verb: &str, output: &str| {
        let mut command = Command::new(&ntc);
        command.arg(verb).arg(&file).arg("--output").arg(folder.path().join(output));
        command.env("ORT_DYLIB_PATH", &library);
        command
    };
    let mut json = verb("classify", "bench.json");
    json.args(["--format", "json"]);
    let mut works = vec![
        ("ntc extract, Parquet".to_owned(), Work::Program(verb("extract", "bench.parquet"))),
        ("ntc classify, JSON lines".to_owned(), Work::Program(json)),
        (
            format!("ONNX Runtime alone, batch {BATCH_FLOWS}"),
            Work::Bare(Box::new(Bare::load(None)?), features_of(&file)?),
        ),
    ];
    works.push(("capture file reader alone".to_owned(), Work::Reader { flows: false }));
    works.push(("reader, parser and flow table".to_owned(), Work::Reader { flows: true }));
    for peer in peers::find(&file) {
        match peer {
            Ok((name, command)) => works.push((name, Work::Program(command))),
            Err(reason) => report.notes.push(format!("Left out: {reason}.")),
        }
    }
    let mut cpu = vec![Vec::new(); works.len()];
    let spreads = interleaved(rounds, works.len(), |row| {
        let (before, start) = (cpu_seconds()?, Instant::now());
        match &mut works[row].1 {
            Work::Program(command) => run(command)?,
            Work::Bare(bare, values) => {
                values.chunks(BATCH_FLOWS * FLOW_VALUES).try_for_each(|batch| bare.run(batch))?;
            }
            Work::Reader { flows } => read(&file, *flows, |_| {})?,
        }
        let wall = start.elapsed().as_secs_f64();
        cpu[row].push(f64::from(PACKETS) / (cpu_seconds()? - before));
        Ok(f64::from(PACKETS) / wall)
    })?;
    let cpu: Vec<Spread> = cpu.into_iter().map(Spread::of).collect();
    let flows = |packets: f64| packets * f64::from(FLOWS) / f64::from(PACKETS);
    for (index, ((name, _), spread)) in works.iter().zip(&spreads).enumerate() {
        let mut row = Row::new(name, *spread)
            .with("flows/s", flows(spread.median))
            .with("packets/s of CPU", cpu[index].median);
        if name.starts_with("ntc classify") {
            row = row
                .with("of bare", spread.median / spreads[index + 1].median)
                .with("of bare, CPU", cpu[index].median / cpu[index + 1].median);
        }
        report.rows.push(row);
    }
    Ok(report)
}

fn run(command: &mut Command) -> Result<()> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let output = command.output().with_context(|| format!("{}", command.get_program().display()))?;
    ensure!(
        output.status.success(),
        "{}: {}\n{}",
        command.get_program().display(),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// The model's input for every flow of the capture.
fn features_of(file: &Path) -> Result<Vec<f32>> {
    let mut values = Vec::with_capacity(FLOWS as usize * FLOW_VALUES);
    read(file, true, |flow| {
        let start = values.len();
        values.resize(start + FLOW_VALUES, 0.0);
        features::write(&flow.id, flow.sequence.packets(), &mut values[start..]);
    })?;
    Ok(values)
}

/// Reads the capture as `ntc` does; `ended` gets its flows, if there are to be any.
fn read(file: &Path, flows: bool, mut ended: impl FnMut(EndedFlow)) -> Result<()> {
    let mut count = 0;
    let mut ended = |flow| {
        count += 1;
        ended(flow);
    };
    let mut table = FlowTable::new(FlowRule::DEFAULT);
    let (mut capture, mut packets) = (CaptureFile::open(file)?, 0);
    while let Some(frame) = capture.next_frame() {
        let frame = frame?;
        packets += 1;
        if flows {
            // What is no flow is missed below.
            let _ = table.packet(&frame, &mut ended);
        } else {
            black_box(frame);
        }
    }
    table.finish(&mut ended);
    ensure!(
        packets == PACKETS && (!flows || count == FLOWS),
        "{packets} packets in {count} flows: the capture is not as it was made"
    );
    Ok(())
}

/// Processor time of this process and of its children that have ended.
fn cpu_seconds() -> Result<f64> {
    let mut sum = 0.0;
    for who in [libc::RUSAGE_SELF, libc::RUSAGE_CHILDREN] {
        // SAFETY: all zero is an rusage.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: the kernel fills the structure, which outlives the call.
        ensure!(unsafe { libc::getrusage(who, &raw mut usage) } == 0, std::io::Error::last_os_error());
        for time in [usage.ru_utime, usage.ru_stime] {
            sum += time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
        }
    }
    Ok(sum)
}
