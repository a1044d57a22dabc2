//! Answers become labels in the kernel's map.

use std::{collections::HashMap, path::Path};

use aya::maps::MapError;
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
}

/// Takes labels away when their flows are over. The kernel does so only when a key is used again.
#[derive(Debug)]
pub struct LabelSweeper {
    labels: Labels,
    flows: Flows,
    rule: FlowRule,
    /// Labels whose flow the table has forgotten, and when that was first seen: the flow may still live, and is then
    /// taken up again under its label.
    orphans: HashMap<FlowKey, u64>,
}

impl LabelSweeper {
    /// Opens the pinned maps.
    ///
    /// # Errors
    /// No pins, or not writable.
    pub fn open(pins: &Path, rule: FlowRule) -> Result<Self, KernelError> {
        let (labels, flows) = (tables::labels(pins)?, tables::flows(pins)?);
        Ok(Self { labels, flows, rule, orphans: HashMap::new() })
    }

    /// Looks at all labels once; returns how many were taken away.
    ///
    /// # Errors
    /// A map could not be used.
    pub fn sweep(&mut self) -> Result<usize, KernelError> {
        // Collected first: removing while walking would make the walk begin anew.
        let labels: Vec<(FlowKey, Label)> = self.labels.iter().filter_map(Result::ok).collect();
        let mut orphans = HashMap::new();
        let mut removed = 0;
        for (key, label) in labels {
            let now_ns = clock::monotonic_ns();
            let over = match tables::lookup(&self.flows, &key).map_err(KernelError::map("FLOWS"))? {
                Some(state) => {
                    state.start_ns != label.start_ns || state.over(key.protocol, now_ns, &self.rule).is_some()
                }
                None => {
                    let since = *self.orphans.get(&key).unwrap_or(&now_ns);
                    orphans.insert(key, since);
                    now_ns.saturating_sub(since) > self.rule.idle_ns(key.protocol)
                }
            };
            // A new flow's label could come in between only if the flow began, was asked about and answered
            // since the look above.
            if over {
                forget(&mut self.labels, &key).map_err(KernelError::map("LABELS"))?;
                orphans.remove(&key);
                removed += 1;
            }
        }
        self.orphans = orphans;
        Ok(removed)
    }
}

/// Removes a label; gone already is as good.
fn forget(labels: &mut Labels, key: &FlowKey) -> Result<(), MapError> {
    match labels.remove(key) {
        Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(error)) if error.io_error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
