//! What the handlers share, and the thread that keeps it current.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use aya::maps::MapError;
use ntc_common::{
    flow::{FlowRule, FlowState},
    key::FlowKey,
    label::Label,
};
use tokio::sync::Semaphore;

use super::{
    agent::{AgentView, HookView},
    auth::Tokens,
    log::Log,
    metrics::Times,
    mirror::{Change, Entry, Mirror},
    policy::PolicyState,
    problem::Problem,
    rate::Rates,
    view::FlowView,
};
use crate::{
    clock::{self, UnixTime},
    event::Stats,
    export::Export,
    kernel::{
        KernelError,
        batch::Batch,
        flow_table::FlowTable,
        policy::PolicyMaps,
        tables::{self, Labels},
    },
    reload::Reload,
};

/// Streams of events at one time.
pub const SUBSCRIBERS: usize = 64;
/// Labels and flows are looked at so often, unless a look takes long.
const LOOK: Duration = Duration::from_secs(1);
/// A look at all flows takes at most one in so many parts of one processor's time.
const SHARE: u32 = 20;
/// Labels that give way to others are known until the next look, which is at once where they are more than one in so
/// many of the map's places.
const SPARE: usize = 4;
/// Entries that are changed before readers are let in.
const CHUNK: usize = 512;

/// What the API did.
#[derive(Debug, Default)]
pub struct Counters {
    /// Requests that were let in.
    pub requests: AtomicU64,
    /// Requests refused: role, rate, size, form.
    pub refused: AtomicU64,
    /// Connections refused: too many at one time.
    pub connections_refused: AtomicU64,
    /// Readers that were dropped because they did not keep up.
    pub slow_readers: AtomicU64,
    /// Label events that found the queue to the API full; the next look at all labels finds them.
    pub missed: AtomicU64,
}

/// What the handlers share.
#[derive(Debug)]
pub struct Shared {
    /// The agent itself.
    pub agent: RwLock<AgentView>,
    /// Interfaces by index.
    pub hooks: RwLock<BTreeMap<u32, HookView>>,
    /// The model that answers, and the way to what the configuration says now.
    pub reload: Arc<Reload>,
    /// The policy.
    pub policy: Mutex<PolicyState>,
    /// Counts, once a second.
    pub stats: RwLock<Option<Arc<Stats>>>,
    /// What became of labels.
    pub log: Log,
    /// Times to a label.
    pub times: Times,
    /// What the API did.
    pub counters: Counters,
    /// Who is sent what becomes of labels.
    pub exports: Vec<Arc<Export>>,
    /// One for each stream of events.
    pub subscribers: Arc<Semaphore>,
    /// Who may do what.
    pub tokens: Tokens,
    /// Who asks how often.
    pub rates: Rates,
    /// One for all answers: the first packet of a flow has one Unix time, by which it is named.
    unix_time: RwLock<UnixTime>,
    live: OnceLock<Live>,
}

impl Shared {
    /// Before the agent is ready.
    pub fn new(
        agent: AgentView,
        reload: Arc<Reload>,
        policy: PolicyState,
        tokens: Tokens,
        rates: Rates,
        exports: Vec<Arc<Export>>,
    ) -> Self {
        Self {
            agent: RwLock::new(agent),
            hooks: RwLock::default(),
            reload,
            policy: Mutex::new(policy),
            stats: RwLock::default(),
            log: Log::default(),
            times: Times::default(),
            counters: Counters::default(),
            exports,
            subscribers: Arc::new(Semaphore::new(SUBSCRIBERS)),
            tokens,
            rates,
            unix_time: RwLock::new(UnixTime::now()),
            live: OnceLock::new(),
        }
    }

    /// Opens the pinned maps: from here on there are flows to tell of.
    ///
    /// # Errors
    /// A map cannot be opened.
    pub fn open(&self, pins: &Path, table: Arc<FlowTable>, rule: FlowRule) -> Result<(), KernelError> {
        let live = Live::open(pins, table, rule)?;
        self.lock_policy().follow(PolicyMaps::open(pins)?)?;
        // The agent becomes ready once.
        let _ = self.live.set(live);
        Ok(())
    }

    /// Labels and flows.
    ///
    /// # Errors
    /// The agent is not ready.
    pub fn live(&self) -> Result<&Live, Problem> {
        self.live
            .get()
            .ok_or_else(|| Problem::unavailable("the agent is starting: no programs are attached yet"))
    }

    /// From the kernel's clock to Unix time.
    pub fn unix_time(&self) -> UnixTime {
        *read(&self.unix_time)
    }

    /// A labelled flow as it is told.
    pub fn view(&self, key: &FlowKey, entry: &Entry, unix_time: UnixTime) -> FlowView {
        let Entry { state, label, bits_per_s, .. } = entry;
        FlowView::new(*key, state, label, unix_time, Some(*bits_per_s), self.interface(state.ifindex))
    }

    /// Name of an interface that programs are on.
    pub fn interface(&self, ifindex: u32) -> Option<String> {
        read(&self.hooks).get(&ifindex).map(|hook| hook.interface.clone())
    }

    /// Index of an interface that programs are on.
    pub fn ifindex(&self, interface: &str) -> Option<u32> {
        read(&self.hooks).values().find(|hook| hook.interface == interface).map(|hook| hook.index)
    }

    /// The policy, to look at or to change.
    pub fn lock_policy(&self) -> MutexGuard<'_, PolicyState> {
        self.policy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The latest counts.
    ///
    /// # Errors
    /// There are none yet.
    pub fn stats(&self) -> Result<Arc<Stats>, Problem> {
        read(&self.stats)
            .clone()
            .ok_or_else(|| Problem::unavailable("the agent is starting: nothing is counted yet"))
    }
}

/// The value, also after somebody died with the lock held: every change is one assignment.
pub fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

/// As [`read`], to change it.
pub fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

/// Labels and flows of a running agent.
#[derive(Debug)]
pub struct Live {
    labels: Labels,
    table: Arc<FlowTable>,
    rule: FlowRule,
    mirror: RwLock<Mirror>,
    label_capacity: usize,
    flows: AtomicU64,
    labelled: AtomicU64,
}

/// Places of the kernel's tables that are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// In the flow table, labelled or not.
    pub flows: u64,
    /// In the label map, those of flows that are over included.
    pub labels: u64,
}

impl Live {
    fn open(pins: &Path, table: Arc<FlowTable>, rule: FlowRule) -> Result<Self, KernelError> {
        Ok(Self {
            labels: tables::labels(pins)?,
            table,
            rule,
            mirror: RwLock::default(),
            label_capacity: tables::label_capacity(pins, tables::LABELS)?,
            flows: AtomicU64::default(),
            labelled: AtomicU64::default(),
        })
    }

    /// All labelled flows, in order; up to a second old.
    pub fn mirror(&self) -> RwLockReadGuard<'_, Mirror> {
        read(&self.mirror)
    }

    /// When flows are over.
    pub const fn rule(&self) -> FlowRule {
        self.rule
    }

    /// The flow that has a key now, from the table itself.
    pub fn flow(&self, key: &FlowKey) -> Option<FlowState> {
        let lives = |state: &FlowState| state.over(key.protocol, clock::monotonic_ns(), &self.rule).is_none();
        self.table.get(key).filter(lives)
    }

    /// The label of the flow that has a key now, from the map itself.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn label(&self, key: &FlowKey) -> Result<Option<(Label, FlowState)>, Problem> {
        let Some(state) = self.flow(key) else { return Ok(None) };
        let found = match self.labels.get(key, 0) {
            Ok(label) => Some(label),
            Err(MapError::KeyNotFound) => None,
            Err(error) => return Err(Problem::unavailable(format!("the label map: {error}"))),
        };
        Ok(found.filter(|label| label.start_ns == state.start_ns).map(|label| (label, state)))
    }

    /// Places in the flow table.
    pub fn capacity(&self) -> usize {
        self.table.capacity()
    }

    /// Places in the label map.
    pub const fn label_capacity(&self) -> usize {
        self.label_capacity
    }

    /// Whether so many labels came since the last look that the mirror would outgrow the map.
    fn is_crowded(&self) -> bool {
        self.mirror().len() > self.label_capacity + self.label_capacity / SPARE
    }

    /// How full the tables were at the last look.
    pub fn taken(&self) -> Taken {
        Taken { flows: self.flows.load(Ordering::Relaxed), labels: self.labelled.load(Ordering::Relaxed) }
    }

    fn refresh(&self, key: FlowKey, log: &Log, unix_time: UnixTime) {
        // Not readable: as the next look at all labels finds it.
        let Ok(found) = self.label(&key) else { return };
        write(&self.mirror).set(key, found, clock::monotonic_ns(), tell(log, key, unix_time));
    }

    /// Looks at all labels and their flows.
    fn look(&self, batch: &mut Batch<FlowKey, Label>, log: &Log, unix_time: UnixTime) -> std::io::Result<()> {
        let set = |found: &[(FlowKey, Option<Label>)]| {
            let now_ns = clock::monotonic_ns();
            let mut mirror = write(&self.mirror);
            for (key, label) in found {
                let found = label.and_then(|label| Some((label, self.flow(key)?)));
                mirror.set(*key, found, now_ns, tell(log, *key, unix_time));
            }
        };
        write(&self.mirror).begin_look();
        let mut chunk = Vec::with_capacity(CHUNK);
        let mut labels = 0;
        batch.walk(&self.labels, |key, label| {
            labels += 1;
            chunk.push((key, Some(label)));
            if chunk.len() == CHUNK {
                set(&chunk);
                chunk.clear();
            }
        })?;
        set(&chunk);
        let missing: Vec<_> = self.mirror().missing().into_iter().map(|key| (key, None)).collect();
        missing.chunks(CHUNK).for_each(set);
        write(&self.mirror).add_up();
        self.labelled.store(labels, Ordering::Relaxed);
        self.flows.store(self.table.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}

fn tell(log: &Log, key: FlowKey, unix_time: UnixTime) -> impl FnMut(Change, &Entry) {
    move |change, entry| {
        log.push(change, key, entry, unix_time);
    }
}

/// Keeps the mirror current until the sender of `keys` is gone.
pub fn follow(shared: &Shared, keys: &Receiver<FlowKey>) {
    let mut batch = Batch::default();
    let mut next = Instant::now();
    let mut readable = true;
    loop {
        let key = match keys.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Ok(key) => Some(key),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let Some(live) = shared.live.get() else {
            next = Instant::now() + LOOK;
            continue;
        };
        let unix_time = shared.unix_time();
        if let Some(key) = key {
            live.refresh(key, &shared.log, unix_time);
        }
        // A map that cannot be read is not asked at once for each label that comes.
        if Instant::now() >= next || readable && live.is_crowded() {
            let start = clock::thread_time();
            write(&shared.unix_time).follow();
            let looked = live.look(&mut batch, &shared.log, unix_time);
            readable = looked.is_ok();
            if let Err(error) = looked {
                tracing::warn!(%error, "labels cannot be read: the API tells of those that it knows");
            }
            next = Instant::now() + LOOK.max((clock::thread_time() - start) * SHARE);
        }
    }
}
