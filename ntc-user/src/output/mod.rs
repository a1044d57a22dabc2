//! Flows of captures as people and programs want them.

pub mod parquet;
pub mod text;

use ntc_common::{flow::FlowState, label::Stage};
use serde::Serialize;

use crate::{
    capture::table::EndedFlow,
    catalogue::{Catalogue, class_name},
    classify::Answer,
    flow::FlowId,
};

/// The answer for a flow, with names.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Labelled<'a> {
    /// nDPI's full name, or `unknown`.
    pub service: &'static str,
    /// Its protocol.
    pub protocol: &'static str,
    /// Its QoS class.
    pub class: &'static str,
    /// Probability of the answer, 0 to 1.
    pub confidence: f32,
    /// `final`: a capture has an end.
    pub stage: &'static str,
    /// Name and version of the model.
    pub model: &'a str,
}

impl<'a> Labelled<'a> {
    /// Names for an answer.
    pub fn new(answer: &Answer, model: &'a str) -> Self {
        let (service, protocol) = Catalogue::shipped().names(answer.service);
        Self {
            service,
            protocol,
            class: class_name(answer.class),
            confidence: answer.confidence,
            stage: Stage::Final.name(),
            model,
        }
    }
}

/// A flow of a capture as a row: the columns that every format has.
#[derive(Clone, Debug, Serialize)]
pub struct Row<'a> {
    /// File name.
    pub capture: &'a str,
    /// Which flow.
    #[serde(flatten)]
    pub id: FlowId,
    /// VLAN id of the first packet.
    pub vlan: Option<u16>,
    /// First packet, Unix time in ns.
    pub first_ts_ns: u64,
    /// Latest packet, Unix time in ns.
    pub last_ts_ns: u64,
    /// Packets of the whole flow.
    pub packets: u64,
    /// IP bytes of the whole flow.
    pub bytes: u64,
    /// Why the flow is over.
    pub end: &'static str,
    /// Packets of its sequence.
    pub seq_len: usize,
    /// The answer, if a model was asked.
    #[serde(flatten)]
    pub label: Option<Labelled<'a>>,
}

impl<'a> Row<'a> {
    /// Of a flow that is over.
    pub fn new(capture: &'a str, flow: &EndedFlow, label: Option<Labelled<'a>>) -> Self {
        let FlowState { start_ns, last_ns, packets, bytes, .. } = flow.state;
        Self {
            capture,
            id: flow.id,
            vlan: flow.state.vlan(),
            first_ts_ns: start_ns,
            last_ts_ns: last_ns,
            packets: packets.iter().sum(),
            bytes: bytes.iter().sum(),
            end: flow.end.name(),
            seq_len: flow.sequence.packets().len(),
            label,
        }
    }
}
