//! `ntc eval`: a model's answers to labelled captures, judged.

use std::{
    collections::{BTreeSet, HashMap},
    fs::File,
    io::{BufWriter, Write as _, stdout},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use ntc_common::limits::SEQUENCE_LENGTH;
use serde::Serialize;

use crate::{
    batch::BATCH_FLOWS,
    capture::{file::find_captures, table::EndedFlow},
    classify::{Answer, Model},
    cli::EvalArgs,
    evaluate::{
        Level,
        figures::{Figures, Judged},
        labels::{self, FlowName, Truth},
        ports::PortTable,
        tables,
    },
    features::{self, FEATURES, FLOW_VALUES},
    offline,
};

/// What `--json` writes: the figures, and what they are of.
#[derive(Debug, Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    figures: &'a Figures,
    model: &'a str,
    level: Level,
    packets: usize,
    ports: bool,
    /// Labelled flows that are in none of the captures.
    missing_flows: usize,
    port_table_sha256: String,
}

/// A labelled flow with the model's answer.
struct Found {
    name: FlowName,
    truth: Truth,
    proto: u8,
    ports: (u16, u16),
    answer: Answer,
}

/// Labelled flows that wait for their batch, and those that are answered.
struct Judge<'a> {
    model: Model,
    args: &'a EvalArgs,
    truths: HashMap<FlowName, Truth>,
    waiting: Vec<(FlowName, Truth, EndedFlow)>,
    found: Vec<Found>,
}

impl Judge<'_> {
    fn add(&mut self, capture: &str, flow: EndedFlow) -> anyhow::Result<()> {
        let name = FlowName::of(capture, &flow);
        if let Some(truth) = self.truths.remove(&name) {
            self.waiting.push((name, truth, flow));
        }
        if self.waiting.len() == BATCH_FLOWS { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        let mut values = vec![0.0; self.waiting.len() * FLOW_VALUES];
        for ((_, _, flow), row) in self.waiting.iter().zip(values.chunks_exact_mut(FLOW_VALUES)) {
            let packets = flow.sequence.packets();
            features::write(&flow.id, &packets[..packets.len().min(self.args.packets)], row);
            if self.args.no_ports {
                for packet in row.chunks_exact_mut(FEATURES.len()) {
                    features::PORTS.iter().for_each(|port| packet[*port] = 0.0);
                }
            }
        }
        let mut answers = Vec::with_capacity(self.waiting.len());
        self.model.likeliest(&values, &mut answers)?;
        for ((name, truth, flow), answer) in self.waiting.drain(..).zip(answers) {
            let ports = (flow.id.source().port(), flow.id.destination().port());
            self.found.push(Found { name, truth, proto: flow.id.key.protocol, ports, answer });
        }
        Ok(())
    }
}

/// Flows as they are judged at a level.
fn judged<'a>(found: &'a [Found], level: Level, model: &Model) -> Vec<Judged<'a>> {
    let known: BTreeSet<&str> = model.vocabulary().services().map(|service| level.name(service)).collect();
    let table = PortTable::shipped();
    let judge = |flow: &'a Found| {
        let truth = flow.truth.label.as_str();
        let known = known.contains(truth);
        let (src, dst) = flow.ports;
        Judged {
            truth,
            said: level.said(&flow.answer),
            confidence: match level {
                Level::Service => flow.answer.service_confidence,
                Level::Protocol | Level::Class => flow.answer.confidence,
            },
            known,
            off_port: known && table.label(flow.proto, src, dst, level) != Some(truth),
            source: &flow.truth.source,
        }
    };
    found.iter().map(judge).collect()
}

/// Runs the verb.
///
/// # Errors
/// No captures, labels or model, no labelled flow in the captures, or the output cannot be written.
pub fn run(args: &EvalArgs) -> anyhow::Result<ExitCode> {
    let captures = find_captures(&args.captures)?;
    let truths = labels::read(&args.labels, args.level, args.max_rank)?;
    let labelled = truths.len();
    let model = super::model(&args.model)?;
    let mut judge = Judge { model, args, truths, waiting: Vec::new(), found: Vec::new() };
    let outcome =
        offline::read(&captures, super::rule(args.flow_rule), |capture, flow| judge.add(capture, flow))?;
    judge.flush()?;
    let Judge { model, truths: missing, mut found, .. } = judge;
    found.sort_by(|a, b| a.name.cmp(&b.name));
    let flows = judged(&found, args.level, &model);
    let Some(figures) = Figures::of(&flows) else {
        bail!("none of the {labelled} labelled flows is in the captures");
    };
    let report = Report {
        figures: &figures,
        model: model.title(),
        level: args.level,
        packets: args.packets,
        ports: !args.no_ports,
        missing_flows: missing.len(),
        port_table_sha256: PortTable::digest(),
    };
    if let Some(path) = &args.json {
        write_json(path, &report)?;
    }
    let mut out = BufWriter::new(stdout());
    write_head(&mut out, &report)?;
    tables::write(&mut out, &figures, &flows)?;
    out.flush()?;
    if !missing.is_empty() {
        eprintln!("ntc: {} of {labelled} labelled flows are in none of the captures", missing.len());
    }
    Ok(super::conclude(&outcome))
}

fn write_head(out: &mut impl std::io::Write, report: &Report<'_>) -> std::io::Result<()> {
    let level = match report.level {
        Level::Service => "service",
        Level::Protocol => "protocol",
        Level::Class => "class",
    };
    let packets = match report.packets {
        SEQUENCE_LENGTH => String::new(),
        packets => format!(", the first {packets} packets"),
    };
    let ports = if report.ports { "" } else { ", without ports" };
    writeln!(
        out,
        "{} at {level} level{packets}{ports}; off-port by the table {}…\n",
        report.model,
        &report.port_table_sha256[..12]
    )
}

fn write_json(path: &Path, report: &Report<'_>) -> anyhow::Result<()> {
    let name = path.display();
    let mut file = BufWriter::new(File::create(path).with_context(|| format!("cannot write {name}"))?);
    serde_json::to_writer_pretty(&mut file, report)?;
    writeln!(file).and_then(|()| file.flush()).with_context(|| format!("cannot write {name}"))
}
