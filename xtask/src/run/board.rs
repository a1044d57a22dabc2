//! All flows of the run: the last label of each beside the truth.

use std::collections::{HashMap, HashSet};

use super::{
    agent::Label,
    net::{SERVER_V4, SERVER_V6},
    ports::Ports,
};

/// Protocol of a flow that the model gives no name.
pub(super) const UNKNOWN: &str = "unknown";

/// Identity of a flow: ends, transport and start.
#[derive(Clone, PartialEq, Eq, Hash)]
struct FlowId {
    source: (String, u16),
    destination: (String, u16),
    transport: String,
    start: u64,
}

/// A flow with its newest label.
pub(super) struct Flow {
    /// The newest label.
    pub(super) label: Label,
    /// True protocol; `None` for a flow that no service of the run made.
    pub(super) truth: Option<&'static str>,
}

impl Flow {
    /// Whether the model gave it a name.
    pub(super) fn labelled(&self) -> bool {
        self.label.protocol != UNKNOWN
    }

    /// Whether the name is right at protocol level.
    pub(super) fn right(&self) -> bool {
        self.labelled() && self.truth == Some(self.label.protocol.as_str())
    }
}

/// The flows, in the order in which they were first labelled.
#[derive(Default)]
pub(super) struct Board {
    flows: Vec<Flow>,
    index: HashMap<FlowId, usize>,
    /// Flows by the order of their newest label.
    recent: Vec<usize>,
    /// Every label event's reason, time from the deciding packet and time from the first packet.
    latencies: Vec<(String, u64, u64)>,
    ports: Ports,
}

impl Board {
    /// An empty board of a run with services on these ports.
    pub(super) fn new(ports: Ports) -> Self {
        Self { ports, ..Self::default() }
    }

    /// Takes a label in; the true protocol of its flow.
    pub(super) fn add(&mut self, label: Label) -> Option<&'static str> {
        let id = FlowId {
            source: (label.src_ip.clone(), label.src_port),
            destination: (label.dst_ip.clone(), label.dst_port),
            transport: label.proto.clone(),
            start: label.first_ts_ns,
        };
        self.latencies.push((label.reason.clone(), label.decided_us, label.age_us));
        let truth = self.true_protocol(&label);
        let number = *self.index.entry(id).or_insert(self.flows.len());
        let flow = Flow { label, truth };
        match self.flows.get_mut(number) {
            Some(known) => *known = flow,
            None => self.flows.push(flow),
        }
        self.recent.push(number);
        truth
    }

    /// The truth by construction: which service owns the server's port.
    fn true_protocol(&self, label: &Label) -> Option<&'static str> {
        let server_port = if is_server(&label.dst_ip) {
            label.dst_port
        } else if is_server(&label.src_ip) {
            label.src_port
        } else {
            return None;
        };
        self.ports.truth(&label.proto, server_port)
    }

    /// All flows.
    pub(super) fn flows(&self) -> &[Flow] {
        &self.flows
    }

    /// Flows by their newest label, newest first.
    pub(super) fn recent(&self) -> impl Iterator<Item = &Flow> {
        let mut shown = HashSet::new();
        self.recent
            .iter()
            .rev()
            .filter(move |number| shown.insert(**number))
            .map(|&number| &self.flows[number])
    }

    /// Reason, time from the deciding packet and time from the first packet, in microseconds, of every label.
    pub(super) fn latencies(&self) -> &[(String, u64, u64)] {
        &self.latencies
    }

    /// Flows with a name, and those of them with the right one.
    pub(super) fn counts(&self) -> (usize, usize) {
        (
            self.flows.iter().filter(|flow| flow.labelled()).count(),
            self.flows.iter().filter(|flow| flow.right()).count(),
        )
    }
}

fn is_server(address: &str) -> bool {
    address == SERVER_V4 || address == SERVER_V6
}
