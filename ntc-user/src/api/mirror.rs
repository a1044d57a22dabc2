//! What the label map holds, in order, for readers who ask for pages: the map itself has no order, and each look into
//! it is a system call. Label events keep it current, and a look at all labels each second finds what no event told of.

use std::collections::BTreeMap;

use ntc_common::{flow::FlowState, key::FlowKey, label::Label, limits::MAX_CLASSES};
use slotmap::{DefaultKey as Slot, SlotMap};

/// A labelled flow.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Its label.
    pub label: Label,
    /// The flow as it was looked at last.
    pub state: FlowState,
    /// Over the time between the last two looks.
    pub bits_per_s: u64,
    /// When it was looked at for the rate, ns of `CLOCK_MONOTONIC`.
    measured_ns: u64,
    /// IP bytes at that time.
    measured_bytes: u64,
    /// The latest look at all labels that found it, or under way when it came.
    look: u32,
}

/// What became of a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A flow got its first label.
    New,
    /// Service, class, stage or confidence are others now.
    Changed {
        /// The label before.
        was: Label,
    },
    /// The flow is over, or its label gave way.
    Ended,
}

impl Change {
    /// Name in output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Changed { .. } => "changed",
            Self::Ended => "ended",
        }
    }
}

/// Flows of a kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// How many.
    pub flows: u64,
    /// Bits a second, both directions.
    pub bits_per_s: u64,
}

/// Flows by service and by class.
#[derive(Clone, Debug)]
pub struct Sums {
    /// By service id.
    pub services: BTreeMap<u16, Sum>,
    /// By class number.
    pub classes: [Sum; MAX_CLASSES as usize],
    /// All.
    pub all: Sum,
    /// Those of [`all`](Self::all) whose label is provisional.
    pub provisional: u64,
}

impl Default for Sums {
    fn default() -> Self {
        Self {
            services: BTreeMap::new(),
            classes: [Sum::default(); MAX_CLASSES as usize],
            all: Sum::default(),
            provisional: 0,
        }
    }
}

/// All labelled flows, by key.
#[derive(Debug, Default)]
pub struct Mirror {
    slots: BTreeMap<FlowKey, Slot>,
    /// One piece, which a flood of new flows fills and leaves as it is for the next: in a tree's nodes they would be
    /// twice the memory, which comes and goes with the flows.
    entries: SlotMap<Slot, Entry>,
    sums: Sums,
    /// Looks at all labels, the present one included.
    looks: u32,
}

impl Mirror {
    /// Begins a look at all labels. Flows that are not [`set`](Self::set) from here on are [`missing`](Self::missing).
    pub fn begin_look(&mut self) {
        self.looks = self.looks.wrapping_add(1);
    }

    /// Flows that the present look has not found.
    pub fn missing(&self) -> Vec<FlowKey> {
        self.range(None).filter(|(_, entry)| entry.look != self.looks).map(|(key, _)| *key).collect()
    }

    /// Takes over what map and table hold for a key now; tells what changed, a flow that took another's place first.
    pub fn set(
        &mut self,
        key: FlowKey,
        found: Option<(Label, FlowState)>,
        now_ns: u64,
        mut tell: impl FnMut(Change, &Entry),
    ) {
        // A label that is not this flow's is about to go.
        let found = found.filter(|(label, state)| label.start_ns == state.start_ns);
        let mut slot = self.slots.get(&key).copied();
        if let Some(over) = slot
            && let Some(known) = self.entries.get(over)
            && found.is_none_or(|(label, _)| label.start_ns != known.label.start_ns)
        {
            tell(Change::Ended, known);
            self.slots.remove(&key);
            self.entries.remove(over);
            slot = None;
        }
        let Some((label, state)) = found else { return };
        let bytes = state.bytes.iter().sum();
        match slot.and_then(|slot| self.entries.get_mut(slot)) {
            Some(known) => {
                let was = std::mem::replace(&mut known.label, label);
                known.state = state;
                known.look = self.looks;
                known.measure(bytes, now_ns);
                if differ(&was, &label) {
                    tell(Change::Changed { was }, known);
                }
            }
            None => {
                let since = state.start_ns.min(now_ns);
                let look = self.looks;
                let mut entry =
                    Entry { label, state, bits_per_s: 0, measured_ns: since, measured_bytes: 0, look };
                entry.measure(bytes, now_ns);
                tell(Change::New, &entry);
                self.slots.insert(key, self.entries.insert(entry));
            }
        }
    }

    /// Keys from `after` on, at most `limit`.
    pub fn keys(&self, after: Option<&FlowKey>, limit: usize) -> Vec<FlowKey> {
        self.range(after).take(limit).map(|(key, _)| *key).collect()
    }

    /// A flow.
    pub fn get(&self, key: &FlowKey) -> Option<&Entry> {
        self.entries.get(*self.slots.get(key)?)
    }

    /// Flows behind `after`, by key.
    pub fn range(&self, after: Option<&FlowKey>) -> impl Iterator<Item = (&FlowKey, &Entry)> {
        use std::ops::Bound;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let slots = self.slots.range::<FlowKey, _>((from, Bound::Unbounded));
        slots.filter_map(|(key, slot)| Some((key, self.entries.get(*slot)?)))
    }

    /// How many flows there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Flows by service and class, as of the last [`add_up`](Self::add_up).
    pub const fn sums(&self) -> &Sums {
        &self.sums
    }

    /// Adds flows up anew.
    pub fn add_up(&mut self) {
        let mut sums = Sums::default();
        for Entry { label, bits_per_s, .. } in self.entries.values() {
            let of_class = sums.classes.get_mut(usize::from(label.class));
            let of_service = sums.services.entry(label.service).or_default();
            for sum in [Some(&mut sums.all), of_class, Some(of_service)].into_iter().flatten() {
                sum.flows += 1;
                sum.bits_per_s += bits_per_s;
            }
            sums.provisional += u64::from(label.stage == ntc_common::label::Stage::Provisional as u8);
        }
        self.sums = sums;
    }
}

/// Rates are over at least so long: ns.
const RATE_NS: u64 = 900_000_000;

impl Entry {
    /// The same flow with another label.
    pub const fn with(self, label: Label) -> Self {
        Self { label, ..self }
    }

    fn measure(&mut self, bytes: u64, now_ns: u64) {
        let passed_ns = now_ns.saturating_sub(self.measured_ns);
        if passed_ns < RATE_NS {
            return;
        }
        let bits = u128::from(bytes.saturating_sub(self.measured_bytes)) * 8;
        self.bits_per_s = u64::try_from(bits * 1_000_000_000 / u128::from(passed_ns)).unwrap_or(u64::MAX);
        (self.measured_ns, self.measured_bytes) = (now_ns, bytes);
    }
}

/// Whether somebody who follows labels wants to know.
fn differ(old: &Label, new: &Label) -> bool {
    (old.service, old.class, old.stage, old.confidence, old.packets)
        != (new.service, new.class, new.stage, new.confidence, new.packets)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use ntc_common::label::Stage;

    fn flow(port: u16, start_ns: u64, service: u16, bytes: u64) -> (FlowKey, Option<(Label, FlowState)>) {
        let key = FlowKey { lower_port: port.to_be_bytes(), ..FlowKey::ZERO };
        let label = Label {
            start_ns,
            set_at_ns: start_ns,
            model_epoch: 1,
            service,
            confidence: 60_000,
            stage: Stage::Final as u8,
            class: 2,
            packets: 20,
            acts_as: service,
            acts_confidence: 60_000,
            changes: 1,
        };
        let state = FlowState {
            start_ns,
            closed_ns: 0,
            vlan: 0xffff,
            ifindex: 7,
            last_ns: start_ns,
            sequence: 20,
            flags: 0,
            packets: [1, 1],
            bytes: [bytes, 0],
        };
        (key, Some((label, state)))
    }

    pub(crate) fn entry(port: u16) -> (FlowKey, Entry) {
        let (key, found) = flow(port, 100, 5, 10);
        let mut mirror = Mirror::default();
        mirror.set(key, found, 100, |_, _| {});
        (key, *mirror.get(&key).expect("it was set"))
    }

    #[test]
    fn it_tells_each_change_once_and_a_key_that_is_used_again_as_two_flows() {
        let mut mirror = Mirror::default();
        let told = std::cell::RefCell::new(Vec::new());
        let tell = |change: Change, entry: &Entry| {
            told.borrow_mut().push((change.name(), entry.label.start_ns, entry.label.service));
        };
        let (key, first) = flow(1, 100, 5, 10);
        mirror.set(key, first, 200, tell);
        mirror.set(key, first, 300, tell);
        mirror.set(key, flow(1, 100, 7, 10).1, 400, tell);
        mirror.set(key, flow(1, 500, 7, 10).1, 600, tell);
        mirror.set(key, None, 700, tell);
        mirror.set(key, None, 800, tell);
        assert_eq!(
            told.into_inner(),
            [("new", 100, 5), ("changed", 100, 7), ("ended", 100, 7), ("new", 500, 7), ("ended", 500, 7)]
        );
        assert!(mirror.is_empty());
    }

    #[test]
    fn rates_and_sums_are_of_what_passed_since() {
        let mut mirror = Mirror::default();
        let second = 1_000_000_000;
        let (key, first) = flow(1, 0, 5, 1_000);
        mirror.set(key, first, 2 * second, |_, _| {});
        mirror.add_up();
        assert_eq!(mirror.sums().all, Sum { flows: 1, bits_per_s: 4_000 });
        mirror.set(key, flow(1, 0, 5, 3_000).1, 4 * second, |_, _| {});
        let (other, found) = flow(2, 0, 7, 0);
        mirror.set(other, found, 4 * second, |_, _| {});
        mirror.add_up();
        assert_eq!(mirror.sums().services[&5], Sum { flows: 1, bits_per_s: 8_000 });
        assert_eq!(mirror.sums().classes[2], Sum { flows: 2, bits_per_s: 8_000 });
        assert_eq!(mirror.keys(Some(&key), 9), [other]);
    }
}
