//! From packet records to questions: when is a live flow's sequence worth asking about?
//!
//! A flow is asked about when its sequence is full, when it closes, and when it pauses so long that waiting
//! is worse than answering. After a pause or a close it is asked about again if more packets came. Before all that it
//! is asked about early, at [`EARLY`] packets: an answer that is sure needs no more. All in packet time: `now` comes
//! from outside.
//!
//! Under a flood of new flows memory and work stay bounded: a question that is not taken waits for the next pause,
//! and where there are too many flows, those go first that nobody has answered.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    hash::BuildHasher as _,
};

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use ntc_common::{
    flow::{End, FlowRule},
    key::FlowKey,
    label::Stage,
    record::PacketRecord,
};
use serde::{Deserialize, Serialize};
use slotmap::{DefaultKey as Slot, SlotMap};
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
    /// It has as many packets as may do; an answer counts if it is sure.
    Early,
}

impl Cause {
    /// Whether one packet brings the question, so that the time from it to the label says how fast ntc is.
    pub const fn decides(self) -> bool {
        matches!(self, Self::Complete | Self::Closed)
    }
}

/// Packets at which a flow is asked about early.
pub const EARLY: [usize; 4] = [1, 3, 5, 10];

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
    /// The packet that brought the question, ns of packet time.
    pub deciding_ns: u64,
}

/// What the assembler is to be like.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// A flow without a record for so long is asked about; ns of packet time.
    pub pause_ns: u64,
    /// Unfinished flows that are kept; beyond, one goes: the oldest that nobody has answered, else the one that would
    /// be forgotten first.
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
    /// Flows whose question was not taken when it was first asked.
    pub deferred: u64,
    /// Flows given up because too many were unfinished.
    pub evicted: u64,
    /// Records that fit nowhere.
    pub misfits: u64,
}

/// A live flow whose sequence is not complete.
#[derive(Debug)]
pub struct Unfinished {
    id: FlowId,
    sequence: Sequence,
    /// Latest record, ns of packet time.
    last_ns: u64,
    /// Packets that the latest question rested on, early ones left out: those may stay without an answer.
    asked: usize,
    /// Packets that the latest early question rested on.
    asked_early: usize,
    /// Stands in `early`.
    early: bool,
    closed: bool,
    gapped: bool,
    deferred: bool,
    /// Packets went both ways.
    answered: bool,
    /// Stands in `pauses`.
    queued: bool,
}

impl Unfinished {
    /// Packets that a question would rest on.
    pub fn packets(&self) -> usize {
        self.sequence.packets().len()
    }

    /// Whether it has come to one of [`EARLY`] since it was asked about.
    fn asks_early(&self) -> bool {
        let (asked, packets) = (self.asked.max(self.asked_early), self.packets());
        !self.closed && EARLY.iter().any(|early| asked < *early && *early <= packets)
    }

    /// The question, for who takes it.
    pub fn question(&self, cause: Cause) -> Question {
        let stage = if self.closed || self.sequence.is_full() { Stage::Final } else { Stage::Provisional };
        Question { id: self.id, deciding_ns: self.last_ns, sequence: self.sequence.clone(), cause, stage }
    }
}

/// Entries of flows that are gone, beyond a multiple of those that are not.
const STALE_ENTRIES: usize = 4096;

/// When to look at a flow again, earliest first. A slot is never the slot of two flows.
type Agenda = BinaryHeap<Reverse<(u64, Slot)>>;

/// Unfinished sequences of live flows.
pub struct Assembler {
    settings: Settings,
    /// By key, which stands in the slot alone.
    slots: HashTable<Slot>,
    hasher: RandomState,
    flows: SlotMap<Slot, Unfinished>,
    /// When to look whether a flow has paused.
    pauses: Agenda,
    /// When to look whether a flow is idle.
    idle: Agenda,
    /// In the order in which they came; those that are answered by now are passed over.
    unanswered: VecDeque<Slot>,
    /// Those that came to so many packets that they are asked about early.
    early: Vec<Slot>,
    counts: Counts,
}

impl Assembler {
    /// No flow yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            slots: HashTable::new(),
            hasher: RandomState::default(),
            flows: SlotMap::new(),
            pauses: Agenda::new(),
            idle: Agenda::new(),
            unanswered: VecDeque::new(),
            early: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// What was done so far.
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Unfinished flows.
    pub fn unfinished(&self) -> usize {
        self.flows.len()
    }

    /// Takes a record, and asks if it completes the sequence or closes the flow. `ask` says whether it has taken the
    /// question; one that it has not is asked again at the next pause.
    pub fn record(&mut self, record: &PacketRecord, mut ask: impl FnMut(&Unfinished, Cause) -> bool) {
        let slot = match self.slot(&record.key) {
            Some(slot) => match self.flows.get(slot).map(|flow| flow.id.start_ns) {
                // Of a flow that another has replaced on its key: late, from another CPU.
                Some(start_ns) if start_ns > record.start_ns => {
                    self.counts.misfits += 1;
                    return;
                }
                Some(start_ns) if start_ns == record.start_ns => slot,
                Some(_) | None => self.begin(record),
            },
            None => self.begin(record),
        };
        let Some(flow) = self.flows.get_mut(slot) else { return };
        if !flow.sequence.place(record) {
            self.counts.misfits += 1;
            return;
        }
        flow.last_ns = flow.last_ns.max(record.timestamp_ns);
        flow.answered |= record.direction() != 0;
        if !flow.queued {
            flow.queued = true;
            self.pauses.push(Reverse((flow.last_ns.saturating_add(self.settings.pause_ns), slot)));
        }
        let closes = End::from_number(record.end).is_some();
        if closes {
            flow.closed = true;
            // From here on it is forgotten sooner.
            self.idle.push(Reverse((flow.last_ns.saturating_add(self.settings.rule.linger_ns), slot)));
        }
        let cause = if flow.sequence.is_full() { Cause::Complete } else { Cause::Closed };
        // With a hole the missing record may still be on its way from another CPU: the pause will tell.
        let asks = cause == Cause::Complete || closes && flow.sequence.holes() == 0;
        if !asks {
            if !flow.early && flow.asks_early() {
                flow.early = true;
                self.early.push(slot);
            }
        } else if put(flow, cause, &mut self.counts, &mut ask) && cause == Cause::Complete {
            self.forget(slot);
        }
    }

    /// Asks about the flows that came to so many packets since the last call: once each, however many records came at
    /// a time. A question that is not taken is put again when the flow's next record comes.
    pub fn early(&mut self, mut ask: impl FnMut(&Unfinished, Cause) -> bool) {
        for slot in self.early.drain(..) {
            let Some(flow) = self.flows.get_mut(slot) else { continue };
            flow.early = false;
            if flow.asks_early() && ask(flow, Cause::Early) {
                flow.asked_early = flow.packets();
            }
        }
    }

    fn begin(&mut self, record: &PacketRecord) -> Slot {
        self.counts.flows += 1;
        if let Some(replaced) = self.slot(&record.key) {
            self.forget(replaced);
        } else if self.flows.len() >= self.settings.max_flows {
            self.evict();
        }
        let slot = self.flows.insert(Unfinished {
            id: FlowId {
                key: record.key,
                start_ns: record.start_ns,
                upper_is_source: record.upper_is_source(),
            },
            sequence: Sequence::default(),
            last_ns: record.timestamp_ns,
            asked: 0,
            asked_early: 0,
            early: false,
            closed: false,
            gapped: false,
            deferred: false,
            answered: false,
            queued: false,
        });
        let Self { slots, hasher, flows, .. } = self;
        let hash = |slot: &Slot| flows.get(*slot).map_or(0, |flow| hasher.hash_one(flow.id.key));
        slots.insert_unique(hasher.hash_one(record.key), slot, hash);
        let due = record.timestamp_ns.saturating_add(self.settings.rule.idle_ns(record.key.protocol));
        self.idle.push(Reverse((due, slot)));
        self.unanswered.push_back(slot);
        // Flows that are gone leave their entries behind; they may not outgrow those that are needed,
        // of which a flow has two at most: it is idle at one time, and if it closes at another.
        let bound = 3 * self.flows.len() + STALE_ENTRIES;
        for agenda in [&mut self.pauses, &mut self.idle] {
            if agenda.len() > bound {
                agenda.retain(|Reverse((_, slot))| self.flows.contains_key(*slot));
            }
        }
        if self.unanswered.len() > bound {
            self.unanswered.retain(|slot| self.flows.get(*slot).is_some_and(|flow| !flow.answered));
        }
        slot
    }

    fn slot(&self, key: &FlowKey) -> Option<Slot> {
        let is_it = |slot: &Slot| self.flows.get(*slot).is_some_and(|flow| flow.id.key == *key);
        self.slots.find(self.hasher.hash_one(key), is_it).copied()
    }

    fn forget(&mut self, slot: Slot) -> bool {
        let Some(flow) = self.flows.remove(slot) else { return false };
        if let Ok(entry) = self.slots.find_entry(self.hasher.hash_one(flow.id.key), |other| *other == slot) {
            entry.remove();
        }
        true
    }

    fn evict(&mut self) {
        while let Some(slot) = self.unanswered.pop_front() {
            if self.flows.get(slot).is_some_and(|flow| !flow.answered) {
                self.counts.evicted += u64::from(self.forget(slot));
                return;
            }
        }
        while let Some(Reverse((_, slot))) = self.idle.pop() {
            if self.forget(slot) {
                self.counts.evicted += 1;
                return;
            }
        }
    }

    /// Asks about flows that have paused by `now_ns`, and forgets those that are over.
    pub fn due(&mut self, now_ns: u64, mut ask: impl FnMut(&Unfinished, Cause) -> bool) {
        // One round over what is due: a question that is not taken waits for the next.
        let mut again = Vec::new();
        while let Some(slot) = pop_due(&mut self.pauses, now_ns) {
            let Some(flow) = self.flows.get_mut(slot) else { continue };
            let due = flow.last_ns.saturating_add(self.settings.pause_ns);
            if due > now_ns {
                again.push(Reverse((due, slot)));
                continue;
            }
            if flow.sequence.holes() > 0 && !flow.gapped {
                flow.gapped = true;
                self.counts.gapped += 1;
                self.counts.headless += u64::from(flow.packets() == 0);
            }
            if flow.packets() > flow.asked && !put(flow, Cause::Paused, &mut self.counts, &mut ask) {
                again.push(Reverse((now_ns.saturating_add(self.settings.pause_ns), slot)));
                continue;
            }
            flow.queued = false;
            if flow.sequence.is_full() {
                self.forget(slot);
            }
        }
        self.pauses.extend(again);
        while let Some(slot) = pop_due(&mut self.idle, now_ns) {
            let Some(flow) = self.flows.get(slot) else { continue };
            let rule = &self.settings.rule;
            let patience = if flow.closed { rule.linger_ns } else { rule.idle_ns(flow.id.key.protocol) };
            let due = flow.last_ns.saturating_add(patience);
            if due > now_ns {
                self.idle.push(Reverse((due, slot)));
            } else {
                self.forget(slot);
            }
        }
    }
}

/// Asks, and notes what came of it.
fn put(
    flow: &mut Unfinished,
    cause: Cause,
    counts: &mut Counts,
    ask: &mut impl FnMut(&Unfinished, Cause) -> bool,
) -> bool {
    let taken = ask(flow, cause);
    if taken {
        flow.asked = flow.packets();
    } else if !flow.deferred {
        flow.deferred = true;
        counts.deferred += 1;
    }
    taken
}

fn pop_due(agenda: &mut Agenda, now_ns: u64) -> Option<Slot> {
    agenda.peek().filter(|Reverse((due, _))| *due <= now_ns)?;
    agenda.pop().map(|Reverse((_, slot))| slot)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ntc_common::{limits::SEQUENCE_LENGTH, record::record_flags};

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

    /// (cause, packets) of all questions.
    fn asked(run: impl FnOnce(&mut dyn FnMut(&Unfinished, Cause) -> bool)) -> Vec<(Cause, usize)> {
        let mut all = Vec::new();
        run(&mut |flow, cause| {
            let question = flow.question(cause);
            all.push((question.cause, question.sequence.packets().len()));
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
        assert_eq!(questions, [(Cause::Complete, SEQUENCE_LENGTH)]);
        assert_eq!(assembler.unfinished(), 0);
        assert_eq!(asked(|ask| assembler.due(u64::MAX, ask)), []);
    }

    #[test]
    fn early_questions_are_asked_once_at_each_step_and_leave_the_pause_its_own() {
        let mut assembler = assembler();
        let questions = asked(|ask| {
            for (packet, at_ns) in (0..13).map(|i| (i, 1000 + u64::from(i))) {
                assembler.record(&record(1, packet, at_ns), &mut *ask);
                // Read together: 5 to 9.
                if !(5..9).contains(&packet) {
                    assembler.early(&mut *ask);
                    assembler.early(&mut *ask);
                }
            }
            assembler.due(1012 + PAUSE, &mut *ask);
        });
        let early = [1, 3, 5, 10].map(|packets| (Cause::Early, packets));
        assert_eq!(questions, [&early[..], &[(Cause::Paused, 13)]].concat());
    }

    #[test]
    fn an_early_question_that_is_not_taken_is_left_to_the_next_step() {
        let mut assembler = assembler();
        assembler.record(&record(1, 0, 1000), |_, _| true);
        assembler.early(|_, _| false);
        assembler.record(&record(1, 1, 1001), |_, _| true);
        assert_eq!(asked(|ask| assembler.early(ask)), [(Cause::Early, 2)]);
        assert_eq!(assembler.counts().deferred, 0);
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
        assert_eq!(questions, [(Cause::Paused, 2), (Cause::Paused, 3)]);
    }

    #[test]
    fn time_at_its_end_does_not_wrap() {
        let mut assembler = assembler();
        let questions = asked(|ask| {
            assembler.record(&record(1, 0, u64::MAX - 1), &mut *ask);
            assembler.due(2 * PAUSE, &mut *ask);
        });
        assert_eq!(questions, [], "a pause that wrapped is due at once");
        assert_eq!(asked(|ask| assembler.due(u64::MAX, ask)), [(Cause::Paused, 1)]);
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
        assert_eq!(questions, [(Cause::Closed, 2), (Cause::Paused, 3)]);
        assert_eq!((assembler.counts().flows, assembler.counts().gapped), (1, 0));
        assert_eq!(assembler.unfinished(), 1);
        assembler.due(2000 + 3 * PAUSE + FlowRule::DEFAULT.linger_ns, |_, _| true);
        assert_eq!(assembler.unfinished(), 0);
    }

    #[test]
    fn a_question_that_is_not_taken_is_asked_again() {
        let mut assembler = assembler();
        (0..SEQUENCE_LENGTH as u8).for_each(|i| assembler.record(&record(1, i, 1000), |_, _| false));
        assembler.record(&record(2, 0, 1000), |_, _| false);
        assembler.due(1000 + PAUSE, |_, _| false);
        let questions = asked(|ask| assembler.due(1000 + 3 * PAUSE, ask));
        assert_eq!((questions.len(), assembler.counts().deferred), (2, 2));
        assert!(questions.contains(&(Cause::Paused, SEQUENCE_LENGTH)));
        assert!(questions.contains(&(Cause::Paused, 1)));
    }

    #[test]
    fn a_hole_is_counted_and_only_what_is_before_it_asked_about() {
        let mut assembler = assembler();
        let questions = asked(|ask| {
            [0, 1, 3].iter().for_each(|i| assembler.record(&record(1, *i, 1000), &mut *ask));
            assembler.record(&record(2, 5, 1000), &mut *ask);
            assembler.due(1000 + PAUSE, &mut *ask);
        });
        assert_eq!(questions, [(Cause::Paused, 2)]);
        assert_eq!((assembler.counts().gapped, assembler.counts().headless), (2, 1));
    }

    #[test]
    fn an_older_flow_does_not_displace_the_newer_on_its_key() {
        let mut assembler = assembler();
        let newer = PacketRecord { start_ns: 5000, ..record(1, 0, 5000) };
        assembler.record(&newer, |_, _| true);
        assembler.record(&record(1, 7, 4000), |_, _| true);
        assert_eq!((assembler.counts().flows, assembler.counts().misfits), (1, 1));
        assert_eq!(asked(|ask| assembler.due(u64::MAX - 1, ask)), [(Cause::Paused, 1)]);
    }

    #[test]
    fn unfinished_flows_are_bounded() {
        let mut assembler = assembler();
        (0..200).for_each(|port| assembler.record(&record(port, 0, 1000 + u64::from(port)), |_, _| true));
        assert_eq!((assembler.unfinished(), assembler.counts().evicted), (4, 196));
    }

    #[test]
    fn answered_flows_outlive_a_flood_of_others() {
        let mut assembler = assembler();
        let from_server = |record: PacketRecord| PacketRecord { flags: record_flags::TO_SOURCE, ..record };
        (0..3).for_each(|port| {
            assembler.record(&record(port, 0, 1000), |_, _| true);
            assembler.record(&from_server(record(port, 1, 1000)), |_, _| true);
        });
        (10..250).for_each(|port| assembler.record(&record(port, 0, 2000), |_, _| true));
        assert_eq!(assembler.counts().evicted, 239);
        let questions = asked(|ask| assembler.due(2000 + PAUSE, ask));
        assert_eq!(questions.iter().filter(|(_, packets)| *packets == 2).count(), 3);
    }
}
