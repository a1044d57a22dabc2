//! What the agent tells of itself.

use std::collections::BTreeMap;

use ntc_common::{error::ParseError, ledger::Ledger, policy::Enforcement};
use serde::Serialize;

use crate::{
    assemble::{self, Cause},
    catalogue::{Catalogue, class_name},
    classify::Answer,
    flow::FlowId,
    kernel::tables::Counts,
};

/// One line of `ntc run --format json`.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Programs are attached, labels count.
    Ready(Ready),
    /// A label was written, or changed.
    Label(Box<LabelEvent>),
    /// Once a second.
    Stats(Box<Stats>),
    /// The last line.
    Summary(Box<Stats>),
}

/// Where the agent works.
#[derive(Clone, Debug, Serialize)]
pub struct Ready {
    /// Interface names.
    pub interfaces: Vec<String>,
    /// Where the maps are pinned.
    pub pin_dir: String,
    /// Name and version of the model.
    pub model: String,
}

/// A flow and its label.
#[derive(Clone, Debug, Serialize)]
pub struct LabelEvent {
    /// Which flow.
    #[serde(flatten)]
    pub flow: FlowId,
    /// First packet, Unix time in ns.
    pub first_ts_ns: u64,
    /// nDPI's full name, or `unknown`.
    pub service: &'static str,
    /// Its protocol.
    pub protocol: &'static str,
    /// Its QoS class.
    pub class: &'static str,
    /// Probability of the answer, 0 to 1.
    pub confidence: f32,
    /// `provisional` or `final`.
    pub stage: &'static str,
    /// Packets that the answer rests on.
    pub packets: usize,
    /// Why the flow was asked about.
    pub reason: Cause,
    /// From the packet that brought the question to the label in the map, in microseconds.
    pub decided_us: u64,
    /// From the first packet to the label in the map, in microseconds.
    pub age_us: u64,
    /// The label is in the map; not so where the flow was over by then.
    pub written: bool,
}

impl LabelEvent {
    /// Names for an answer.
    pub fn names(answer: &Answer) -> (&'static str, &'static str, &'static str) {
        let (service, protocol) = Catalogue::shipped().names(answer.service);
        (service, protocol, class_name(answer.class))
    }
}

/// Counts since the start.
#[derive(Clone, Debug, Serialize)]
pub struct Stats {
    /// Flows of which a record came.
    pub flows: u64,
    /// Flows that were labelled at least once.
    pub labelled: u64,
    /// Questions that found the queue to the model full, and were asked again later.
    pub shed: u64,
    /// Flows that the model failed on, and labels that could not be written; the log says why.
    pub failed: u64,
    /// Events that found the queue to the output full.
    pub events_lost: u64,
    /// Where each packet went.
    pub ledger: LedgerView,
    /// What the tc programs did.
    pub enforcement: EnforcementView,
    /// Packets and bytes that left in each class, by name.
    pub classes: BTreeMap<&'static str, [u64; 2]>,
    /// What the assembler did.
    pub assembler: assemble::Counts,
    /// Deciding packet (20th or closing) to label, in microseconds.
    pub decided_us: Percentiles,
    /// First packet to first label, in microseconds.
    pub first_label_us: Percentiles,
}

/// Of a distribution of times.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Percentiles {
    /// How many.
    pub count: u64,
    /// Median.
    pub p50: u64,
    /// 99th percentile.
    pub p99: u64,
}

/// [`Ledger`] with names.
#[derive(Clone, Debug, Serialize)]
pub struct LedgerView {
    /// Wire packets that were ntc's to account.
    pub seen: u64,
    /// Left a record.
    pub recorded: u64,
    /// Of flows whose sequence is full.
    pub gated: u64,
    /// Of no flow.
    pub not_flow: u64,
    /// Lost by ntc: ring or table full.
    pub dropped: u64,
    /// Whether the sums close.
    pub closes: bool,
    /// New flows.
    pub new_flows: u64,
    /// Flows taken up again after an eviction.
    pub resumed_flows: u64,
    /// Flows that began while the agent was behind, and are not classified.
    pub shed_flows: u64,
    /// Counters that are not 0, by name.
    pub reasons: BTreeMap<&'static str, u64>,
}

impl From<&Ledger> for LedgerView {
    fn from(ledger: &Ledger) -> Self {
        let named = [
            ("ring_full", ledger.ring_full),
            ("table_full", ledger.table_full),
            ("super_packets", ledger.super_packets),
            ("unsplit", ledger.unsplit),
            ("zero_ip_len", ledger.zero_ip_len),
        ];
        let errors = ParseError::ALL.iter().zip(&ledger.not_flow).map(|(error, n)| (error.name(), *n));
        Self {
            seen: ledger.seen,
            recorded: ledger.recorded,
            gated: ledger.gated,
            not_flow: ledger.not_flow_total(),
            dropped: ledger.dropped(),
            closes: ledger.closes(),
            new_flows: ledger.new_flows,
            resumed_flows: ledger.resumed_flows,
            shed_flows: ledger.shed_flows,
            reasons: named.into_iter().chain(errors).filter(|(_, n)| *n > 0).collect(),
        }
    }
}

/// [`Enforcement`] with names.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct EnforcementView {
    /// At tc ingress.
    pub ingress: u64,
    /// At tc egress.
    pub egress: u64,
    /// Left alone: no heartbeat.
    pub stale: u64,
    /// Left alone: no label, or too little confidence.
    pub unlabelled: u64,
    /// Class applied from the label.
    pub labelled: u64,
    /// Class applied from the mark.
    pub by_mark: u64,
    /// Code point written.
    pub remarked: u64,
}

impl From<&Enforcement> for EnforcementView {
    fn from(counts: &Enforcement) -> Self {
        let Enforcement { ingress, egress, stale, unlabelled, labelled, by_mark, remarked } = *counts;
        Self { ingress, egress, stale, unlabelled, labelled, by_mark, remarked }
    }
}

/// Packets and bytes of classes that have any.
pub fn classes(counts: &Counts) -> BTreeMap<&'static str, [u64; 2]> {
    (0u8..)
        .zip(&counts.classes)
        .filter(|(_, counter)| counter.packets > 0)
        .map(|(class, counter)| (class_name(class), [counter.packets, counter.bytes]))
        .collect()
}
