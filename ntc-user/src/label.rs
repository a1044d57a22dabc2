//! Answers become labels in the kernel's map.

use std::path::Path;

use aya::maps::{HashMap, MapData, MapError};
use ntc_common::{
    flow::FlowRule,
    key::FlowKey,
    label::{Label, Stage},
};

use crate::{
    classify::Answer,
    clock,
    flow::FlowId,
    kernel::{
        KernelError,
        tables::{self, Flows, Labels},
    },
};

/// Writes `LABELS`, for flows that are still the ones that were asked about.
#[derive(Debug)]
pub struct LabelWriter {
    labels: Labels,
    flows: Flows,
    model_epoch: u32,
}

impl LabelWriter {
    /// Opens the pinned maps.
    ///
    /// # Errors
    /// No pins, or not writable.
    pub fn open(pins: &Path, model_epoch: u32) -> Result<Self, KernelError> {
        Ok(Self { labels: tables::labels(pins)?, flows: tables::flows(pins)?, model_epoch })
    }

    /// Writes a flow's label. `false` where the flow is over: its key may be another flow's by now.
    ///
    /// # Errors
    /// The map could not be used.
    pub fn write(
        &mut self,
        flow: &FlowId,
        answer: &Answer,
        stage: Stage,
        packets: usize,
    ) -> Result<bool, KernelError> {
        if !self.lives(flow)? {
            return Ok(false);
        }
        let label = Label {
            start_ns: flow.start_ns,
            set_at_ns: clock::monotonic_ns(),
            model_epoch: self.model_epoch,
            service: answer.service,
            confidence: (answer.confidence.clamp(0.0, 1.0) * 65535.0).round() as u16,
            stage: stage as u8,
            class: answer.class,
            packets: packets as u8,
            reserved: [0; 5],
        };
        self.labels.insert(flow.key, label, 0).map_err(KernelError::map("LABELS"))?;
        // The kernel may have begun a new flow on the key between look and write; it forgot the label
        // before this one came. Looking again closes that gap.
        if self.lives(flow)? {
            return Ok(true);
        }
        forget(&mut self.labels, &flow.key).map_err(KernelError::map("LABELS"))?;
        Ok(false)
    }

    fn lives(&self, flow: &FlowId) -> Result<bool, KernelError> {
        let state = tables::lookup(&self.flows, &flow.key).map_err(KernelError::map("FLOWS"))?;
        Ok(state.is_some_and(|state| state.start_ns == flow.start_ns))
    }

    /// Removes flows that are over from the table, and their labels; returns how many. The kernel does so
    /// only when a key is used again.
    ///
    /// # Errors
    /// A map could not be used.
    pub fn sweep(&mut self, rule: &FlowRule) -> Result<usize, KernelError> {
        let now_ns = clock::monotonic_ns();
        // Collected first: removing while walking would make the walk begin anew.
        let over: Vec<FlowKey> = self
            .flows
            .iter()
            .filter_map(Result::ok)
            .filter(|(key, state)| state.over(key.protocol, now_ns, rule).is_some())
            .map(|(key, _)| key)
            .collect();
        for key in &over {
            // The label goes first: a packet in between must not find a label without its flow, which
            // would look like an eviction.
            forget(&mut self.labels, key).map_err(KernelError::map("LABELS"))?;
            forget(&mut self.flows, key).map_err(KernelError::map("FLOWS"))?;
        }
        Ok(over.len())
    }
}

/// Removes an entry; gone already is as good.
fn forget<V: aya::Pod>(map: &mut HashMap<MapData, FlowKey, V>, key: &FlowKey) -> Result<(), MapError> {
    match map.remove(key) {
        Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(error)) if error.io_error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
