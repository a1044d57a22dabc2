//! The live agent: the one file that sees all stages.
//!
//! ```text
//! ring -> [chunks] -> assemble -> [questions] -> batch -> classify -> label map -> [events] -> caller
//!  tokio task           tokio task                 one thread
//! ```
//! Every queue is bounded. Chunks wait for room, so that the kernel's ring takes up the slack and counts
//! what it cannot hold; questions and events that find no room are dropped and counted.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{self as blocking, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use aya::Ebpf;
use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, bounded};
use hdrhistogram::Histogram;
use ntc_common::{flow::FlowRule, limits::SEQUENCE_LENGTH};
use thiserror::Error;
use tokio::{
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval},
};

use crate::{
    assemble::{self, Assembler, Cause, Question, Unfinished},
    batch::{self, BATCH_FLOWS},
    capture::ring::{RingReader, records},
    classify::ModelError,
    clock::{self, UnixTime},
    event::{self, Event, InterfaceEvent, LabelEvent, Percentiles, Ready, Stats},
    features::{self, FLOW_VALUES},
    kernel::{
        KernelError,
        attach::{
            self,
            hooks::{self, Hooks},
            requests::Requests,
        },
        flow_table::FlowTable,
        heartbeat::{self, Heartbeat},
        load,
        netlink::links::{Snapshot, Watch, links},
        pins::{self, PinDirectory},
        policy,
        privileges::{self, PrivilegeError},
        tables::{self, LABELS, SHADOW_LABELS},
    },
    label::{LabelSweeper, LabelWriter, Written},
    policy::Policy,
    shadow::{Follower, Shadow},
    switch::Running,
};

/// Chunks between ring and assembler.
const CHUNKS: usize = 64;
/// Questions between assembler and model.
const QUESTIONS: usize = 4096;
/// Events between model and caller.
const EVENTS: usize = 8192;
/// At the end the ring is read until a chunk is smaller than this.
const LAST_CHUNK_BYTES: usize = 64 * 1024;
/// At the end the model is given so long to answer what was not asked yet.
const LAST_QUESTIONS: Duration = Duration::from_secs(2);
/// The assembler looks for pauses so often.
const PAUSE_TICK: Duration = Duration::from_millis(5);
/// Labels of flows that are over are taken away so often.
const SWEEP: Duration = Duration::from_secs(5);

/// The agent cannot start, or cannot go on.
#[derive(Debug, Error)]
pub enum AgentError {
    /// The kernel side.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// What it no longer needs could not be given up.
    #[error(transparent)]
    Privileges(#[from] PrivilegeError),
    /// The ring can no longer be read.
    #[error("the record ring: {0}")]
    Ring(std::io::Error),
    /// A thread could not be started, or died.
    #[error("{0}")]
    Thread(String),
}

/// What the agent is to be like.
#[derive(Debug)]
pub struct Config {
    /// Where it captures and enforces.
    pub interfaces: Requests,
    /// How programs are attached there.
    pub attach: attach::Options,
    /// The kernel side.
    pub kernel: load::Settings,
    /// A flow without a packet for so long is asked about.
    pub pause: Duration,
    /// Maps of another agent that do not fit give way; else they keep this one from starting.
    pub replace_pins: bool,
}

/// How an agent is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Nothing of it stays, unless programs were told to.
    Whole,
    /// Another agent comes at once: maps stay pinned, so that labels and counters go on.
    HandOver,
}

/// Times to a label are told apart up to this: an hour.
const LONGEST_US: u64 = 3_600_000_000;

/// Counters that several stages share.
#[derive(Debug, Default)]
struct Shared {
    failed: AtomicU64,
    events_lost: AtomicU64,
    assembler: std::sync::Mutex<assemble::Counts>,
    labels: std::sync::Mutex<LabelCounts>,
}

#[derive(Debug)]
struct LabelCounts {
    labelled: u64,
    labelled_early: u64,
    decided: Histogram<u32>,
    first: Histogram<u32>,
}

impl Default for LabelCounts {
    fn default() -> Self {
        // Whole range from the start: a histogram that grows would clamp what comes before it has grown.
        let histogram = || {
            Histogram::new_with_bounds(1, LONGEST_US, 3)
                .unwrap_or_else(|_| unreachable!("constants within the allowed range"))
        };
        Self { labelled: 0, labelled_early: 0, decided: histogram(), first: histogram() }
    }
}

/// Runs until `stop` ends; `emit` gets every event, a summary last.
///
/// # Errors
/// What kept it from starting, or made it give up.
pub async fn run(
    config: Config,
    policy: &Policy,
    mut model: Running,
    shadow: Shadow,
    stop: impl Future<Output = End>,
    mut emit: impl FnMut(Event),
) -> Result<(), AgentError> {
    let mut pins = PinDirectory::claim(&config.attach.pin_dir)?;
    pins::refuse_other_versions(pins.path(), config.replace_pins)?;
    hooks::release(pins.path())?;
    let mut ebpf = load::over(&config.kernel, &mut pins, config.replace_pins)?;
    #[cfg(debug_assertions)]
    tokio::spawn(crate::kernel::log::forward(&mut ebpf)?);
    let ring = RingReader::open(&mut ebpf)?;
    tables::forget_interfaces(pins.path())?;
    policy::start(pins.path(), policy)?;
    let (pin_dir, title) = (pins.path().display().to_string(), model.loaded().title.to_string());
    let shared = Arc::new(Shared::default());
    let (stop_reading, reading) = watch::channel(false);
    let (chunk_sender, chunks) = mpsc::channel(CHUNKS);
    let (question_sender, questions) = bounded(QUESTIONS);
    let (event_sender, mut events) = mpsc::channel(EVENTS);

    // Mapped once: each mapping of a large table counts as memory of this process.
    let flows = Arc::new(FlowTable::open_to_free(pins.path())?);
    let writer = LabelWriter::open(pins.path(), Arc::clone(&flows))?;
    model.begin(writer.latest_epoch(), &event_sender);
    let shadow = shadow.start(pins.path(), Arc::clone(&flows))?;
    let maps: &[_] = if shadow.is_some() { &[LABELS, SHADOW_LABELS] } else { &[LABELS] };
    let sweeper =
        |map: &&'static str| LabelSweeper::open(pins.path(), map, Arc::clone(&flows), config.kernel.rule);
    let sweepers = maps.iter().map(sweeper).collect::<Result<Vec<_>, _>>()?;
    let thread = {
        let shared = Arc::clone(&shared);
        thread::Builder::new()
            .name("classify".into())
            .spawn(move || answer(model, writer, shadow, &questions, &event_sender, &shared))
            .map_err(|error| AgentError::Thread(format!("cannot start a thread: {error}")))?
    };
    let settings = assemble::Settings {
        pause_ns: config.pause.as_nanos() as u64,
        max_flows: config.kernel.max_flows as usize,
        rule: config.kernel.rule,
    };
    let reader = tokio::spawn(read(ring, chunk_sender, reading));
    let assembler = tokio::spawn(assemble(settings, chunks, question_sender, Arc::clone(&shared)));

    let heartbeat = Heartbeat::start(&mut ebpf)?;
    let stay = config.attach.stay;
    // Listened to before the list is made: nothing falls in between.
    let news = Watch::open().map_err(KernelError::Netlink)?;
    let there = links().map_err(KernelError::Netlink)?;
    let (mut hooks, changes) = Hooks::start(&mut ebpf, config.interfaces, config.attach, &there)?;
    privileges::settle()?;
    pins.keep();
    emit(Event::Ready(Ready::new(hooks.list(), pin_dir, title, Arc::clone(&flows))));
    changes.into_iter().filter_map(InterfaceEvent::at_start).for_each(|event| emit(Event::Interface(event)));
    let (snapshot_sender, snapshots) = watch::channel(Snapshot::default());
    let follower = tokio::spawn(news.run(snapshot_sender));
    let (stop_sweeping, sweeping) = blocking::sync_channel(0);
    let sweeper = {
        let rule = config.kernel.rule;
        thread::Builder::new()
            .name("sweep".into())
            .spawn(move || sweep(sweepers, &flows, &rule, &sweeping))
            .map_err(|error| AgentError::Thread(format!("cannot start a thread: {error}")))?
    };
    let mut kernel = Kernel { ebpf: &mut ebpf, heartbeat: &heartbeat, hooks: &mut hooks, snapshots };
    let outcome = live(&mut kernel, &pins, &shared, stop, &mut events, &mut emit).await;

    // In the order of the packets: no label counts, no packet is captured, then every stage empties itself
    // into the next.
    let stopped = heartbeat.stop(&mut ebpf);
    follower.abort();
    drop(hooks);
    drop(ebpf);
    let _ = stop_reading.send(true);
    drop(stop_sweeping);
    while let Some(event) = events.recv().await {
        emit(event);
    }
    reader.await.map_err(|e| AgentError::Thread(e.to_string()))?.map_err(AgentError::Ring)?;
    assembler.await.map_err(|e| AgentError::Thread(e.to_string()))?;
    thread.join().map_err(|_| AgentError::Thread("the classifying thread died".into()))?;
    sweeper.join().map_err(|_| AgentError::Thread("the sweeping thread died".into()))?;
    emit(Event::Summary(Box::new(stats(&pins, &shared)?)));
    // A failure leaves nothing that a start would have to take care of.
    if !stay && !matches!(outcome, Ok(End::HandOver)) {
        pins.remove().map_err(|source| KernelError::PinDirectory {
            path: pins.path().display().to_string(),
            source,
        })?;
    }
    stopped?;
    outcome.map(|_| ())
}

/// What the main thread does with the kernel while the agent lives.
struct Kernel<'a> {
    ebpf: &'a mut Ebpf,
    heartbeat: &'a Heartbeat,
    hooks: &'a mut Hooks,
    snapshots: watch::Receiver<Snapshot>,
}

/// While the agent lives: heartbeat, statistics, events. Nothing here may wait: labels hang on the heartbeat.
async fn live(
    kernel: &mut Kernel<'_>,
    pins: &PinDirectory,
    shared: &Shared,
    stop: impl Future<Output = End>,
    events: &mut mpsc::Receiver<Event>,
    emit: &mut impl FnMut(Event),
) -> Result<End, AgentError> {
    let mut beat = interval(heartbeat::PERIOD);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stop = std::pin::pin!(stop);
    let mut following = true;
    loop {
        tokio::select! {
            end = &mut stop => return Ok(end),
            _ = beat.tick() => {
                kernel.heartbeat.beat(kernel.ebpf)?;
                emit(Event::Stats(Box::new(stats(pins, shared)?)));
            }
            news = kernel.snapshots.changed(), if following => match news {
                Ok(()) => {
                    let snapshot = kernel.snapshots.borrow_and_update().clone();
                    for change in kernel.hooks.follow(kernel.ebpf, &snapshot) {
                        // A driver may take its time with XDP: labels live on meanwhile.
                        kernel.heartbeat.beat(kernel.ebpf)?;
                        emit(Event::Interface(change.into()));
                    }
                }
                Err(_) => {
                    following = false;
                    tracing::error!("interfaces are no longer followed: the kernel does not tell of them");
                }
            },
            event = events.recv() => match event {
                Some(event) => emit(event),
                None => return Err(AgentError::Thread("the classifying thread ended early".into())),
            },
        }
    }
}

/// Takes labels of flows that are over away, and frees the flows' places, which the kernel does only when it needs them.
/// Until the sender of `stop` is gone. Two system calls a label: on a thread of its own.
fn sweep(mut sweepers: Vec<LabelSweeper>, flows: &FlowTable, rule: &FlowRule, stop: &blocking::Receiver<()>) {
    privileges::renounce();
    while stop.recv_timeout(SWEEP) == Err(RecvTimeoutError::Timeout) {
        for labels in &mut sweepers {
            match labels.sweep() {
                Ok(removed) => tracing::debug!(removed, "labels of flows that are over"),
                Err(error) => tracing::warn!(%error, "labels of flows that are over stay for now"),
            }
        }
        flows.free_ended(clock::monotonic_ns(), rule);
    }
}

/// Ring to chunks.
async fn read(
    mut ring: RingReader,
    chunks: mpsc::Sender<Bytes>,
    mut stop: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let mut last = false;
    loop {
        let chunk = tokio::select! {
            chunk = ring.chunk() => chunk?,
            _ = stop.changed(), if !last => {
                last = true;
                continue;
            }
        };
        // Programs that stay attached go on filling the ring: the end is where it was nearly empty once.
        let nearly_empty = chunk.len() < LAST_CHUNK_BYTES;
        if !chunk.is_empty() && chunks.send(chunk).await.is_err() {
            return Ok(());
        }
        if last && nearly_empty {
            return Ok(());
        }
    }
}

/// Chunks to questions.
async fn assemble(
    settings: assemble::Settings,
    mut chunks: mpsc::Receiver<Bytes>,
    questions: Sender<Question>,
    shared: Arc<Shared>,
) {
    let mut assembler = Assembler::new(settings);
    let mut tick = interval(PAUSE_TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let ask = |flow: &Unfinished, cause| {
        questions.len() < room(flow.packets()) && questions.try_send(flow.question(cause)).is_ok()
    };
    loop {
        tokio::select! {
            // Records first: whoever has some waiting has not paused.
            biased;
            chunk = chunks.recv() => match chunk {
                Some(chunk) => {
                    records(&chunk).for_each(|record| assembler.record(&record, ask));
                    assembler.early(ask);
                }
                None => break,
            },
            _ = tick.tick() => assembler.due(clock::monotonic_ns(), ask),
        }
        if let Ok(mut counts) = shared.assembler.lock() {
            *counts = assembler.counts();
        }
    }
    // The end: whoever has unasked packets is asked about, and now there is some time to wait for room.
    let deadline = Instant::now() + LAST_QUESTIONS;
    tokio::task::block_in_place(|| {
        assembler
            .due(u64::MAX, |flow, cause| questions.send_deadline(flow.question(cause), deadline).is_ok());
    });
    if let Ok(mut counts) = shared.assembler.lock() {
        *counts = assembler.counts();
    }
}

/// How long the queue of questions may be for one that rests on so many packets: the fuller the sequence, the more a
/// label is worth. A flood, most of whose flows have one packet, leaves half the queue to others.
const fn room(packets: usize) -> usize {
    QUESTIONS / 2 + QUESTIONS / 2 * packets / SEQUENCE_LENGTH
}

/// Questions to labels.
fn answer(
    mut model: Running,
    mut writer: LabelWriter,
    mut shadow: Option<Follower>,
    questions: &Receiver<Question>,
    events: &mpsc::Sender<Event>,
    shared: &Shared,
) {
    privileges::renounce();
    let mut batch = Vec::with_capacity(BATCH_FLOWS);
    let mut values = vec![0.0; BATCH_FLOWS * FLOW_VALUES];
    let mut answers = Vec::with_capacity(BATCH_FLOWS);
    let mut unix_time = UnixTime::now();
    while batch::next(questions, &mut batch).is_some() {
        unix_time.follow();
        for (question, row) in batch.iter().zip(values.chunks_exact_mut(FLOW_VALUES)) {
            features::write(&question.id, question.sequence.packets(), row);
        }
        answers.clear();
        if let Err(error) = model.classify(&values[..batch.len() * FLOW_VALUES], &mut answers) {
            // These flows go without an answer; the next may get one.
            shared.failed.fetch_add(batch.len() as u64, Ordering::Relaxed);
            tracing::error!(%error, flows = batch.len(), "not answered");
            continue;
        }
        if let Err(error) = writer.follow_policy() {
            tracing::error!(%error, "labels go by the policy before");
        }
        let (epoch, title) = (model.loaded().epoch, &model.loaded().title);
        for (question, answer) in batch.iter().zip(&answers) {
            let written = writer.write(question, answer, epoch).unwrap_or_else(|error| {
                shared.failed.fetch_add(1, Ordering::Relaxed);
                tracing::error!(%error, "label not written");
                Written::Over
            });
            if written == Written::TooEarly {
                continue;
            }
            let now_ns = clock::monotonic_ns();
            let us = |since: u64| now_ns.saturating_sub(since) / 1000;
            let (decided_us, age_us) = (us(question.deciding_ns), us(question.id.start_ns));
            if let Ok(mut counts) = shared.labels.lock() {
                if written == Written::First {
                    counts.labelled += 1;
                    counts.labelled_early += u64::from(question.cause == Cause::Early);
                    counts.first.saturating_record(age_us);
                }
                if question.cause.decides() {
                    counts.decided.saturating_record(decided_us);
                }
            }
            let (service, protocol, class) = LabelEvent::names(answer);
            let event = LabelEvent {
                flow: question.id,
                first_ts_ns: unix_time.of(question.id.start_ns),
                service,
                protocol,
                class,
                confidence: answer.confidence,
                stage: question.stage.name(),
                model: Arc::clone(title),
                model_epoch: epoch,
                packets: question.sequence.packets().len(),
                reason: question.cause,
                decided_us,
                age_us,
                written: written != Written::Over,
                first: written == Written::First,
            };
            if events.try_send(Event::Label(Box::new(event))).is_err() {
                shared.events_lost.fetch_add(1, Ordering::Relaxed);
            }
        }
        // Behind all labels that count.
        if let Some(shadow) = &mut shadow {
            shadow.follow(&batch, &values[..batch.len() * FLOW_VALUES], &answers);
        }
    }
}

fn stats(pins: &PinDirectory, shared: &Shared) -> Result<Stats, KernelError> {
    let counts = tables::counts(pins.path())?;
    let assembler = shared.assembler.lock().map(|counts| *counts).unwrap_or_default();
    let (labelled, labelled_early, decided_us, first_label_us) = match shared.labels.lock() {
        Ok(labels) => {
            let times = (percentiles(&labels.decided), percentiles(&labels.first));
            (labels.labelled, labels.labelled_early, times.0, times.1)
        }
        Err(_) => Default::default(),
    };
    Ok(Stats {
        flows: assembler.flows,
        labelled,
        labelled_early,
        failed: shared.failed.load(Ordering::Relaxed),
        events_lost: shared.events_lost.load(Ordering::Relaxed),
        ledger: (&counts.ledger).into(),
        enforcement: (&counts.enforcement).into(),
        classes: event::classes(&counts),
        services: event::services(&counts),
        shadow: event::shadow(&counts),
        assembler,
        decided_us,
        first_label_us,
    })
}

fn percentiles(times: &Histogram<u32>) -> Percentiles {
    Percentiles { count: times.len(), p50: times.value_at_quantile(0.5), p99: times.value_at_quantile(0.99) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_times_to_a_label_are_told_as_they_are() {
        let mut counts = LabelCounts::default();
        for _ in 0..90 {
            counts.decided.saturating_record(1_000);
        }
        for _ in 0..10 {
            counts.decided.saturating_record(2_500_000);
        }
        let told = percentiles(&counts.decided);
        assert_eq!((told.count, told.p50), (100, 1_000));
        assert!(told.p99.abs_diff(2_500_000) < 5_000, "{told:?}");
    }
}
