//! Answers become labels in the kernel's map.

use std::{
    collections::{HashMap, VecDeque},
    path::Path,
    sync::Arc,
};

use aya::maps::MapError;
use ntc_common::{flow::FlowRule, key::FlowKey, label::Label, limits::SEQUENCE_LENGTH, policy::PolicyTable};

use crate::{
    assemble::{Cause, Question},
    classify::Answer,
    clock,
    flow::FlowId,
    kernel::{
        KernelError,
        batch::Batch,
        flow_table::FlowTable,
        policy::PolicyMaps,
        tables::{self, LABELS, Labels, SHADOW_LABELS},
    },
    policy::{Policy, Standing},
};

/// Labels that are looked at to make room for one: beyond, the map is full of what is worth more.
const TRIES: usize = 64;

/// What became of a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is the flow's first.
    First,
    /// It took the place of the flow's label before.
    Again,
    /// The flow is over: its key may be another flow's by now.
    Over,
    /// Nothing was written: the question came early, the answer is not sure, and more packets will come.
    TooEarly,
}

/// A probability as labels have it.
fn of_65535(probability: f32) -> u16 {
    (probability.clamp(0.0, 1.0) * 65535.0).round() as u16
}

/// Writes `LABELS`, for flows that are still the ones that were asked about. It also decides which labels give way
/// when there are too many: those of short sequences before those of complete ones, and the oldest first. An LRU would
/// let a flood decide; and stage would not do, since a flood of flows that are reset at once is labelled for good.
#[derive(Debug)]
pub struct LabelWriter {
    labels: Labels,
    flows: Arc<FlowTable>,
    /// The greatest epoch of labels that were there at the start.
    latest_epoch: u32,
    short: VecDeque<(FlowKey, u64)>,
    complete: VecDeque<(FlowKey, u64)>,
    capacity: usize,
    map: &'static str,
    /// Where the policy that answers are weighed by comes from; `None`: it stays the one it is.
    policy: Option<PolicyMaps>,
    /// That policy, and its number.
    table: (u32, Box<PolicyTable>),
}

impl LabelWriter {
    /// Opens the pinned maps. Labels that an earlier agent left are known to it, too.
    ///
    /// # Errors
    /// No pins, or not writable.
    pub fn open(pins: &Path, flows: Arc<FlowTable>) -> Result<Self, KernelError> {
        Self::open_map(pins, LABELS, flows, None)
    }

    /// The same for the shadow's labels, which are weighed by its own policy if it has one.
    ///
    /// # Errors
    /// No pins, or not writable.
    pub fn shadow(pins: &Path, flows: Arc<FlowTable>, policy: Option<&Policy>) -> Result<Self, KernelError> {
        Self::open_map(pins, SHADOW_LABELS, flows, policy)
    }

    fn open_map(
        pins: &Path,
        map: &'static str,
        flows: Arc<FlowTable>,
        own: Option<&Policy>,
    ) -> Result<Self, KernelError> {
        let labels = tables::labels_in(pins, map)?;
        let capacity = tables::label_capacity(pins, map)?;
        let (policy, table) = match own {
            Some(own) => (None, (0, own.table.clone())),
            None => {
                let policy = PolicyMaps::open(pins)?;
                let table = (policy.applied()?, policy.table()?);
                (Some(policy), table)
            }
        };
        let mut writer = Self {
            map,
            flows,
            latest_epoch: 0,
            short: VecDeque::with_capacity(entries(capacity) + 1),
            complete: VecDeque::with_capacity(entries(capacity) + 1),
            capacity,
            labels,
            policy,
            table,
        };
        let known: Vec<(FlowKey, Label)> = writer.labels.iter().filter_map(Result::ok).collect();
        known.iter().for_each(|(key, label)| writer.remember(*key, label));
        writer.latest_epoch = known.iter().map(|(_, label)| label.model_epoch).max().unwrap_or(0);
        Ok(writer)
    }

    /// The greatest epoch of labels that were there at the start, 0 without any.
    pub const fn latest_epoch(&self) -> u32 {
        self.latest_epoch
    }

    /// Whether an answer is sure enough for its class, or for being left alone, by the policy that counts.
    fn is_sure(&self, answer: &Answer) -> bool {
        self.table.1.class_of(answer.service, of_65535(answer.confidence)).is_some()
    }

    /// Writes the answer to a question as the flow's label, given by the model of an epoch.
    ///
    /// # Errors
    /// The map could not be used.
    pub fn write(
        &mut self,
        question: &Question,
        answer: &Answer,
        model_epoch: u32,
    ) -> Result<Written, KernelError> {
        if question.cause == Cause::Early && !self.is_sure(answer) {
            return Ok(Written::TooEarly);
        }
        let flow = &question.id;
        if !self.lives(flow) {
            return Ok(Written::Over);
        }
        let confidence = of_65535(answer.confidence);
        let before = self.labels.get(&flow.key, 0).ok().filter(|label| label.start_ns == flow.start_ns);
        let stands = Standing::after(&self.table.1, before.as_ref(), answer.service, confidence);
        let label = Label {
            start_ns: flow.start_ns,
            set_at_ns: clock::monotonic_ns(),
            model_epoch,
            service: answer.service,
            confidence,
            acts_as: stands.service,
            acts_confidence: stands.confidence,
            stage: question.stage as u8,
            class: answer.class,
            packets: question.sequence.packets().len() as u8,
            changes: stands.changes,
        };
        self.insert(flow.key, &label).map_err(KernelError::map(self.map))?;
        // The kernel may have begun a new flow on the key between look and write; it forgot the label
        // before this one came. Looking again closes that gap.
        if self.lives(flow) {
            return Ok(if before.is_some() { Written::Again } else { Written::First });
        }
        forget(&mut self.labels, &flow.key).map_err(KernelError::map(self.map))?;
        Ok(Written::Over)
    }

    /// Goes by the policy that counts now. Labels that are there already need no change: what they say is weighed by the
    /// kernel, packet by packet.
    ///
    /// # Errors
    /// The maps could not be read.
    pub fn follow_policy(&mut self) -> Result<(), KernelError> {
        if let Some(policy) = &self.policy {
            let applied = policy.applied()?;
            if applied != self.table.0 {
                self.table = (applied, policy.table()?);
            }
        }
        Ok(())
    }

    fn lives(&self, flow: &FlowId) -> bool {
        self.flows.get(&flow.key).is_some_and(|state| state.start_ns == flow.start_ns)
    }

    fn insert(&mut self, key: FlowKey, label: &Label) -> Result<(), MapError> {
        let mut outcome = self.labels.insert(key, label, 0);
        for _ in 0..TRIES {
            if !outcome.as_ref().is_err_and(is_full) {
                break;
            }
            let (oldest, complete) = match self.short.pop_front() {
                Some(oldest) => (oldest, false),
                None => match self.complete.pop_front() {
                    Some(oldest) => (oldest, true),
                    None => break,
                },
            };
            // It may have been written again, for this flow or another: that one stands behind, or in the other queue.
            let stands = |known: &Label| known.set_at_ns == oldest.1 && is_complete(known) == complete;
            if self.labels.get(&oldest.0, 0).is_ok_and(|known| stands(&known)) {
                forget(&mut self.labels, &oldest.0)?;
            }
            outcome = self.labels.insert(key, label, 0);
        }
        outcome?;
        self.remember(key, label);
        Ok(())
    }

    /// Queues a label as one that may have to give way.
    fn remember(&mut self, key: FlowKey, label: &Label) {
        let complete = is_complete(label);
        let queue = if complete { &mut self.complete } else { &mut self.short };
        queue.push_back((key, label.set_at_ns));
        // Labels that ended by themselves, or were written again, leave their entries behind; they may not outgrow the
        // map. Of each label one entry stands, so a good part of them goes.
        if queue.len() > entries(self.capacity) {
            let labels = &self.labels;
            queue.retain(|(key, set_at_ns)| {
                let stands = |known: &Label| known.set_at_ns == *set_at_ns && is_complete(known) == complete;
                labels.get(key, 0).is_ok_and(|known| stands(&known))
            });
        }
    }
}

/// Takes labels away when their flows are over. The kernel does so only when a key is used again.
#[derive(Debug)]
pub struct LabelSweeper {
    map: &'static str,
    labels: Labels,
    flows: Arc<FlowTable>,
    rule: FlowRule,
    batch: Batch<FlowKey, Label>,
    /// Labels whose flow the table has forgotten, and when that was first seen: the flow may still live, and is then
    /// taken up again under its label.
    orphans: HashMap<FlowKey, u64>,
}

impl LabelSweeper {
    /// Opens the pinned maps: the labels in [`LABELS`] or [`SHADOW_LABELS`].
    ///
    /// # Errors
    /// No pins, or not writable.
    pub fn open(
        pins: &Path,
        map: &'static str,
        flows: Arc<FlowTable>,
        rule: FlowRule,
    ) -> Result<Self, KernelError> {
        Ok(Self {
            map,
            labels: tables::labels_in(pins, map)?,
            flows,
            rule,
            batch: Batch::default(),
            orphans: HashMap::new(),
        })
    }

    /// Looks at all labels once; returns how many labels were taken away.
    ///
    /// # Errors
    /// A map could not be used.
    pub fn sweep(&mut self) -> Result<usize, KernelError> {
        let Self { map, labels, flows, rule, batch, orphans: known } = self;
        let mut orphans = HashMap::new();
        // Collected first: the walk does not go well with removals.
        let mut over = Vec::new();
        let now_ns = clock::monotonic_ns();
        let walked = batch.walk(labels, |key, label| match flows.get(&key) {
            Some(state) => {
                if state.start_ns != label.start_ns || state.over(key.protocol, now_ns, rule).is_some() {
                    over.push((key, label.start_ns));
                }
            }
            None => {
                let since = *known.get(&key).unwrap_or(&now_ns);
                if now_ns.saturating_sub(since) > rule.idle_ns(key.protocol) {
                    over.push((key, label.start_ns));
                } else {
                    orphans.insert(key, since);
                }
            }
        });
        walked.map_err(MapError::IoError).map_err(KernelError::map(map))?;
        let mut removed = 0;
        for (key, start_ns) in over {
            // A new flow may have begun on the key and got its label since.
            if labels.get(&key, 0).is_ok_and(|label| label.start_ns == start_ns) {
                forget(labels, &key).map_err(KernelError::map(map))?;
                removed += 1;
            }
        }
        self.orphans = orphans;
        Ok(removed)
    }
}

/// Entries of a queue before it is gone through: all at once, so that memory is what it is from the start.
const fn entries(capacity: usize) -> usize {
    capacity + capacity / 4
}

/// Removes a label; gone already is as good.
fn forget(labels: &mut Labels, key: &FlowKey) -> Result<(), MapError> {
    match labels.remove(key) {
        Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(error)) if error.io_error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whether a label rests on a complete sequence.
fn is_complete(label: &Label) -> bool {
    usize::from(label.packets) >= SEQUENCE_LENGTH
}

/// The map has no room (E2BIG).
fn is_full(error: &MapError) -> bool {
    matches!(error, MapError::SyscallError(error) if error.io_error.raw_os_error() == Some(libc::E2BIG))
}
