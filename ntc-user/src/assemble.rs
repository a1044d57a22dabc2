//! From packet records to questions: when is a live flow's sequence worth asking about?
//!
//! A flow is asked about when its sequence is full, when it closes, and when it pauses so long that waiting
//! is worse than answering. After a pause or a close it is asked about again if more packets came. All in
//! packet time: `now` comes from outside.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
};

use ntc_common::{
    flow::{End, FlowRule},
    key::FlowKey,
    label::Stage,
    record::PacketRecord,
};
use serde::Serialize;

use crate::{flow::FlowId, sequence::Sequence};

/// Why a flow is asked about now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Its sequence is full.
    Complete,
    /// It closed.
    Closed,
    /// It paused.
    Paused,
}

/// A flow, and what is known of it when it is asked about.
#[derive(Clone, Debug)]
pub struct Question {
    /// Which flow.
    pub id: FlowId,
    /// Its packets.
    pub sequence: Sequence,
    /// Why now.
    pub cause: Cause,
    /// Whether more of the sequence may come.
    pub stage: Stage,
    /// It was not asked about before.
    pub first: bool,
    /// The packet that brought the question, ns of packet time.
    pub deciding_ns: u64,
}

/// What the assembler is to be like.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// A flow without a record for so long is asked about; ns of packet time.
    pub pause_ns: u64,
    /// Unfinished flows that are kept; beyond, the oldest goes.
    pub max_flows: usize,
    /// When flows end.
    pub rule: FlowRule,
}

/// Counts of what the assembler did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Flows of which a record came.
    pub flows: u64,
    /// Flows with a hole in their sequence: the ring lost a record.
    pub gapped: u64,
    /// Flows whose first record was lost: not asked about.
    pub headless: u64,
    /// Flows given up because too many were unfinished.
    pub evicted: u64,
    /// Records that fit nowhere.
    pub misfits: u64,
}

#[derive(Clone)]
struct Pending {
    id: FlowId,
    sequence: Sequence,
    /// Latest record, ns of packet time.
    last_ns: u64,
    /// Packets that the latest question rested on.
    asked: usize,
    closed: bool,
    gapped: bool,
    /// Stands in `pauses`.
    queued: bool,
}

impl Pending {
    fn into_question(self, cause: Cause) -> Question {
        let first = self.asked == 0;
        let stage = if self.closed || self.sequence.is_full() { Stage::Final } else { Stage::Provisional };
        Question { id: self.id, deciding_ns: self.last_ns, sequence: self.sequence, cause, stage, first }
    }
}

/// When to look at a flow again: (due, key, start), earliest first.
type Agenda = BinaryHeap<Reverse<(u64, FlowKey, u64)>>;

/// Unfinished sequences of live flows.
pub struct Assembler {
    settings: Settings,
    pending: HashMap<FlowKey, Pending, foldhash::fast::RandomState>,
    /// When to look whether a flow has paused.
    pauses: Agenda,
    /// When to look whether a flow is idle.
    idle: Agenda,
    counts: Counts,
}

impl Assembler {
    /// No flow yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            pending: HashMap::default(),
            pauses: Agenda::new(),
            idle: Agenda::new(),
            counts: Counts::default(),
        }
    }

    /// What was done so far.
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Unfinished flows.
    pub fn unfinished(&self) -> usize {
        self.pending.len()
    }

    /// Takes a record; a question if it completes the sequence or closes the flow.
    pub fn record(&mut self, record: &PacketRecord) -> Option<Question> {
        let begins = self.pending.get(&record.key).is_none_or(|flow| flow.id.start_ns != record.start_ns);
        if begins {
            self.begin(record);
        }
        let flow = self.pending.get_mut(&record.key)?;
        if !flow.sequence.place(record) {
            self.counts.misfits += 1;
            return None;
        }
        flow.last_ns = flow.last_ns.max(record.timestamp_ns);
        if !flow.queued {
            flow.queued = true;
            let due = flow.last_ns + self.settings.pause_ns;
            self.pauses.push(Reverse((due, record.key, record.start_ns)));
        }
        let closes = End::from_number(record.end).is_some();
        flow.closed |= closes;
        if flow.sequence.is_full() {
            let flow = self.pending.remove(&record.key)?;
            return Some(flow.into_question(Cause::Complete));
        }
        // With a hole the missing record may still be on its way from another CPU: the pause will tell.
        if closes && flow.sequence.holes() == 0 {
            let question = flow.clone().into_question(Cause::Closed);
            flow.asked = flow.sequence.packets().len();
            return Some(question);
        }
        None
    }

    fn begin(&mut self, record: &PacketRecord) {
        self.counts.flows += 1;
        if self.pending.len() >= self.settings.max_flows {
            self.evict();
        }
        let id =
            FlowId { key: record.key, start_ns: record.start_ns, upper_is_source: record.upper_is_source() };
        let flow = Pending {
            id,
            sequence: Sequence::default(),
            last_ns: record.timestamp_ns,
            asked: 0,
            closed: false,
            gapped: false,
            queued: false,
        };
        self.pending.insert(record.key, flow);
        let due = record.timestamp_ns + self.settings.rule.idle_ns(record.key.protocol);
        self.idle.push(Reverse((due, record.key, record.start_ns)));
    }

    /// Gives up the flow that has waited longest.
    fn evict(&mut self) {
        while let Some(Reverse((_, key, start_ns))) = self.idle.pop() {
            if self.pending.get(&key).is_some_and(|flow| flow.id.start_ns == start_ns) {
                self.pending.remove(&key);
                self.counts.evicted += 1;
                return;
            }
        }
    }

    /// Asks about flows that have paused by `now_ns`, and forgets those that are over.
    pub fn due(&mut self, now_ns: u64, mut ask: impl FnMut(Question)) {
        while let Some((key, start_ns)) = pop_due(&mut self.pauses, now_ns) {
            let Some(flow) = self.pending.get_mut(&key).filter(|flow| flow.id.start_ns == start_ns) else {
                continue;
            };
            let due = flow.last_ns + self.settings.pause_ns;
            if due > now_ns {
                self.pauses.push(Reverse((due, key, start_ns)));
                continue;
            }
            flow.queued = false;
            if flow.sequence.holes() > 0 && !flow.gapped {
                flow.gapped = true;
                self.counts.gapped += 1;
                self.counts.headless += u64::from(flow.sequence.packets().is_empty());
            }
            let packets = flow.sequence.packets().len();
            if packets > flow.asked {
                ask(flow.clone().into_question(Cause::Paused));
                flow.asked = packets;
            }
            if flow.closed {
                self.pending.remove(&key);
            }
        }
        while let Some((key, start_ns)) = pop_due(&mut self.idle, now_ns) {
            let Some(flow) = self.pending.get(&key).filter(|flow| flow.id.start_ns == start_ns) else {
                continue;
            };
            let due = flow.last_ns + self.settings.rule.idle_ns(key.protocol);
            if due > now_ns {
                self.idle.push(Reverse((due, key, start_ns)));
            } else {
                self.pending.remove(&key);
            }
        }
    }
}

fn pop_due(agenda: &mut Agenda, now_ns: u64) -> Option<(FlowKey, u64)> {
    agenda.peek().filter(|Reverse((due, ..))| *due <= now_ns)?;
    agenda.pop().map(|Reverse((_, key, start_ns))| (key, start_ns))
}
