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
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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
    fn question(&self, cause: Cause) -> Question {
        let first = self.asked == 0;
        let stage = if self.closed || self.sequence.is_full() { Stage::Final } else { Stage::Provisional };
        Question {
            id: self.id,
            deciding_ns: self.last_ns,
            sequence: self.sequence.clone(),
            cause,
            stage,
            first,
        }
    }
}

/// Entries of flows that are gone, beyond a multiple of those that are not.
const STALE_ENTRIES: usize = 4096;

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

    /// Takes a record, and asks if it completes the sequence or closes the flow. `ask` says whether the question was
    /// taken; one that was not is asked again at the next pause.
    pub fn record(&mut self, record: &PacketRecord, mut ask: impl FnMut(Question) -> bool) {
        match self.pending.get(&record.key).map(|flow| flow.id.start_ns) {
            // Of a flow that another has replaced on its key: late, from another CPU.
            Some(start_ns) if start_ns > record.start_ns => {
                self.counts.misfits += 1;
                return;
            }
            Some(start_ns) if start_ns == record.start_ns => {}
            Some(_) | None => self.begin(record),
        }
        let Some(flow) = self.pending.get_mut(&record.key) else { return };
        if !flow.sequence.place(record) {
            self.counts.misfits += 1;
            return;
        }
        flow.last_ns = flow.last_ns.max(record.timestamp_ns);
        if !flow.queued {
            flow.queued = true;
            let due = flow.last_ns.saturating_add(self.settings.pause_ns);
            self.pauses.push(Reverse((due, record.key, record.start_ns)));
        }
        let closes = End::from_number(record.end).is_some();
        if closes {
            flow.closed = true;
            // From here on it is forgotten sooner.
            let due = flow.last_ns.saturating_add(self.settings.rule.linger_ns);
            self.idle.push(Reverse((due, record.key, record.start_ns)));
        }
        if flow.sequence.is_full() {
            if ask(flow.question(Cause::Complete)) {
                self.pending.remove(&record.key);
            }
        } else if closes && flow.sequence.holes() == 0 && ask(flow.question(Cause::Closed)) {
            // With a hole the missing record may still be on its way from another CPU: the pause will tell.
            flow.asked = flow.sequence.packets().len();
        }
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
        let due = record.timestamp_ns.saturating_add(self.settings.rule.idle_ns(record.key.protocol));
        self.idle.push(Reverse((due, record.key, record.start_ns)));
        // Flows that were answered leave their entries behind; they may not outgrow those that are needed.
        if self.idle.len() > 4 * self.pending.len() + STALE_ENTRIES {
            let pending = &self.pending;
            self.idle.retain(|Reverse((_, key, start_ns))| {
                pending.get(key).is_some_and(|flow| flow.id.start_ns == *start_ns)
            });
        }
    }

    /// Gives up the flow that would be forgotten first.
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
    pub fn due(&mut self, now_ns: u64, mut ask: impl FnMut(Question) -> bool) {
        // One round over what is due: a question that is not taken waits for the next.
        let mut again = Vec::new();
        while let Some((key, start_ns)) = pop_due(&mut self.pauses, now_ns) {
            let Some(flow) = self.pending.get_mut(&key).filter(|flow| flow.id.start_ns == start_ns) else {
                continue;
            };
            let due = flow.last_ns.saturating_add(self.settings.pause_ns);
            if due > now_ns {
                again.push(Reverse((due, key, start_ns)));
                continue;
            }
            if flow.sequence.holes() > 0 && !flow.gapped {
                flow.gapped = true;
                self.counts.gapped += 1;
                self.counts.headless += u64::from(flow.sequence.packets().is_empty());
            }
            let packets = flow.sequence.packets().len();
            let full = flow.sequence.is_full();
            if packets > flow.asked {
                if !ask(flow.question(Cause::Paused)) {
                    again.push(Reverse((now_ns.saturating_add(self.settings.pause_ns), key, start_ns)));
                    continue;
                }
                flow.asked = packets;
            }
            flow.queued = false;
            if full {
                self.pending.remove(&key);
            }
        }
        self.pauses.extend(again);
        while let Some((key, start_ns)) = pop_due(&mut self.idle, now_ns) {
            let Some(flow) = self.pending.get(&key).filter(|flow| flow.id.start_ns == start_ns) else {
                continue;
            };
            let rule = &self.settings.rule;
            let patience = if flow.closed { rule.linger_ns } else { rule.idle_ns(key.protocol) };
            let due = flow.last_ns.saturating_add(patience);
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

#[cfg(test)]
mod tests {
    use super::*;
    use ntc_common::limits::SEQUENCE_LENGTH;

    const PAUSE: u64 = 100_000_000;

    fn assembler() -> Assembler {
        Assembler::new(Settings { pause_ns: PAUSE, max_flows: 4, rule: FlowRule::DEFAULT })
    }

    fn record(port: u8, index: u8, at_ns: u64) -> PacketRecord {
        let key = FlowKey { lower_port: [0, port], protocol: 6, ip_version: 4, ..FlowKey::ZERO };
        PacketRecord {
            key,
            start_ns: 1000,
            timestamp_ns: at_ns,
            payload_len: 0,
            segment_len: 0,
            ifindex: 0,
            window: 0,
            vlan: 0xffff,
            segments: 1,
            places: 1,
            index,
            flags: 0,
            tcp_flags: 0,
            end: 0,
        }
    }

    /// (cause, packets, first) of all questions.
    fn asked(run: impl FnOnce(&mut dyn FnMut(Question) -> bool)) -> Vec<(Cause, usize, bool)> {
        let mut all = Vec::new();
        run(&mut |question| {
            all.push((question.cause, question.sequence.packets().len(), question.first));
            true
        });
        all
    }

    #[test]
    fn a_full_sequence_is_asked_about_at_once_and_forgotten() {
        let mut assembler = assembler();
        let questions = asked(|ask| {
            (0..SEQUENCE_LENGTH as u8)
                .for_each(|i| assembler.record(&record(1, i, 1000 + u64::from(i)), &mut *ask));
        });
        assert_eq!(questions, [(Cause::Complete, SEQUENCE_LENGTH, true)]);
        assert_eq!(assembler.unfinished(), 0);
        assert_eq!(asked(|ask| assembler.due(u64::MAX, ask)), []);
    }

    #[test]
    fn a_pause_is_asked_about_once_and_again_after_more() {
        let mut assembler = assembler();
        let questions = asked(|ask| {
            assembler.record(&record(1, 0, 1000), &mut *ask);
            assembler.record(&record(1, 1, 2000), &mut *ask);
            assembler.due(2000 + PAUSE - 1, &mut *ask);
            assembler.due(2000 + PAUSE, &mut *ask);
            assembler.due(2000 + 3 * PAUSE, &mut *ask);
            assembler.record(&record(1, 2, 2000 + 4 * PAUSE), &mut *ask);
            assembler.due(2000 + 6 * PAUSE, &mut *ask);
        });
        assert_eq!(questions, [(Cause::Paused, 2, true), (Cause::Paused, 3, false)]);
    }

    #[test]
    fn time_at_its_end_does_not_wrap() {
        let mut assembler = assembler();
        let questions = asked(|ask| {
            assembler.record(&record(1, 0, u64::MAX - 1), &mut *ask);
            assembler.due(2 * PAUSE, &mut *ask);
        });
        assert_eq!(questions, [], "a pause that wrapped is due at once");
        assert_eq!(asked(|ask| assembler.due(u64::MAX, ask)), [(Cause::Paused, 1, true)]);
    }

    #[test]
    fn a_late_packet_after_the_close_belongs_to_the_flow() {
        let mut assembler = assembler();
        let closing = PacketRecord { end: End::Fin as u8, ..record(1, 1, 2000) };
        let questions = asked(|ask| {
            assembler.record(&record(1, 0, 1000), &mut *ask);
            assembler.record(&closing, &mut *ask);
            assembler.due(2000 + 2 * PAUSE, &mut *ask);
            // The last ACK, over a long path.
            assembler.record(&record(1, 2, 2000 + 3 * PAUSE), &mut *ask);
            assembler.due(2000 + 5 * PAUSE, &mut *ask);
        });
        assert_eq!(questions, [(Cause::Closed, 2, true), (Cause::Paused, 3, false)]);
        assert_eq!((assembler.counts().flows, assembler.counts().gapped), (1, 0));
        assert_eq!(assembler.unfinished(), 1);
        assembler.due(2000 + 3 * PAUSE + FlowRule::DEFAULT.linger_ns, |_| true);
        assert_eq!(assembler.unfinished(), 0);
    }

    #[test]
    fn a_question_that_is_not_taken_is_asked_again() {
        let mut assembler = assembler();
        (0..SEQUENCE_LENGTH as u8).for_each(|i| assembler.record(&record(1, i, 1000), |_| false));
        assembler.record(&record(2, 0, 1000), |_| false);
        assembler.due(1000 + PAUSE, |_| false);
        let questions = asked(|ask| assembler.due(1000 + 3 * PAUSE, ask));
        assert_eq!(questions.len(), 2);
        assert!(questions.contains(&(Cause::Paused, SEQUENCE_LENGTH, true)));
        assert!(questions.contains(&(Cause::Paused, 1, true)));
    }

    #[test]
    fn a_hole_is_counted_and_only_what_is_before_it_asked_about() {
        let mut assembler = assembler();
        let questions = asked(|ask| {
            [0, 1, 3].iter().for_each(|i| assembler.record(&record(1, *i, 1000), &mut *ask));
            assembler.record(&record(2, 5, 1000), &mut *ask);
            assembler.due(1000 + PAUSE, &mut *ask);
        });
        assert_eq!(questions, [(Cause::Paused, 2, true)]);
        assert_eq!((assembler.counts().gapped, assembler.counts().headless), (2, 1));
    }

    #[test]
    fn an_older_flow_does_not_displace_the_newer_on_its_key() {
        let mut assembler = assembler();
        let newer = PacketRecord { start_ns: 5000, ..record(1, 0, 5000) };
        assembler.record(&newer, |_| true);
        assembler.record(&record(1, 7, 4000), |_| true);
        assert_eq!((assembler.counts().flows, assembler.counts().misfits), (1, 1));
        assert_eq!(asked(|ask| assembler.due(u64::MAX - 1, ask)), [(Cause::Paused, 1, true)]);
    }

    #[test]
    fn unfinished_flows_are_bounded() {
        let mut assembler = assembler();
        (0..200).for_each(|port| assembler.record(&record(port, 0, 1000 + u64::from(port)), |_| true));
        assert_eq!((assembler.unfinished(), assembler.counts().evicted), (4, 196));
    }
}
