//! Live against offline: `ntc classify` on the capture of the run, beside what the agent said live.

use std::{
    collections::HashMap,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::board::{Board, Flow};

/// A live flow and its packets in the capture begin within this of each other: the clock is read at two places.
const SAME_START_NS: u64 = 50_000_000;

/// How far live and offline agree.
#[derive(Serialize)]
pub(super) struct Comparison {
    /// Flows that were labelled live.
    pub(super) flows: usize,
    /// Those with the same label offline.
    pub(super) same: usize,
    /// The others.
    pub(super) differences: Vec<Difference>,
}

/// A flow with two labels.
#[derive(Serialize)]
pub(super) struct Difference {
    /// Source, destination, transport.
    pub(super) flow: String,
    /// Live: service, confidence, packets that it rests on.
    pub(super) live: (String, f64, u64),
    /// Offline; `None` where the capture has no such flow.
    pub(super) offline: Option<(String, f64, u64)>,
}

/// A line of `ntc classify --format json`.
#[derive(Deserialize)]
struct Row {
    src_ip: String,
    src_port: u16,
    dst_ip: String,
    dst_port: u16,
    proto: String,
    first_ts_ns: u64,
    seq_len: u64,
    service: String,
    confidence: f64,
}

type Ends = (String, u16, String, u16, String);

/// Classifies the capture and compares.
pub(super) fn compare(ntc: &Path, capture: &Path, board: &Board) -> Result<Comparison> {
    let mut classify = Command::new(ntc);
    classify.args(["classify", "--format", "json"]).arg(capture).stderr(Stdio::null());
    let output = classify.output().context("starting ntc classify")?;
    ensure!(output.status.success(), "ntc classify {} ended with {}", capture.display(), output.status);
    let mut rows: HashMap<Ends, Vec<Row>> = HashMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let row: Row = serde_json::from_str(line).with_context(|| format!("ntc classify wrote {line}"))?;
        let ends = (row.src_ip.clone(), row.src_port, row.dst_ip.clone(), row.dst_port, row.proto.clone());
        rows.entry(ends).or_default().push(row);
    }
    let differences: Vec<_> = board.flows().iter().filter_map(|flow| difference(flow, &rows)).collect();
    let flows = board.flows().len();
    Ok(Comparison { flows, same: flows - differences.len(), differences })
}

fn difference(flow: &Flow, rows: &HashMap<Ends, Vec<Row>>) -> Option<Difference> {
    let label = &flow.label;
    let ends =
        (label.src_ip.clone(), label.src_port, label.dst_ip.clone(), label.dst_port, label.proto.clone());
    let row = rows
        .get(&ends)
        .into_iter()
        .flatten()
        .min_by_key(|row| row.first_ts_ns.abs_diff(label.first_ts_ns))
        .filter(|row| row.first_ts_ns.abs_diff(label.first_ts_ns) < SAME_START_NS);
    if row.is_some_and(|row| row.service == label.service) {
        return None;
    }
    Some(Difference {
        flow: format!(
            "{} {}:{} > {}:{}",
            label.proto, label.src_ip, label.src_port, label.dst_ip, label.dst_port
        ),
        live: (label.service.clone(), label.confidence, label.packets),
        offline: row.map(|row| (row.service.clone(), row.confidence, row.seq_len)),
    })
}
