//! What becomes of labels, sent to others: IPFIX collectors, NATS brokers, files of JSON lines.
//!
//! ```text
//! follow -> log (the last 16,384 changes) -> one reader each: [run] -> lines | nats | ipfix
//! ```
//! An exporter is one more reader of the API's log, so the agent never waits for it. It goes on behind a change once the
//! other side has it; a connection that breaks costs nothing that the log still holds. What the log had to drop is
//! counted ([`Counters::lost`]).

pub mod address;
mod ipfix;
mod lines;
mod nats;

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use utoipa::ToSchema;

pub use self::address::Address;
use crate::api::{
    log::{Gone, Record},
    state::Shared,
};

/// Changes that are sent at one time.
const CHUNK: usize = 256;
/// Somebody who does not answer is given so long.
const PATIENCE: Duration = Duration::from_secs(10);
/// Waits between two attempts to connect: the first, doubled up to the last.
const WAITS: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(15));

/// An exporter as the rest of the agent sees it.
#[derive(Debug)]
pub struct Export {
    address: Address,
    counters: Counters,
}

/// What an exporter did.
#[derive(Debug, Default)]
struct Counters {
    sent: AtomicU64,
    lost: AtomicU64,
    failures: AtomicU64,
    connected: AtomicBool,
    error: Mutex<Option<String>>,
}

/// An exporter.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ExportView {
    /// Where to, without secrets.
    pub to: String,
    /// Whether the other side is reached.
    pub connected: bool,
    /// Records that the other side has, as far as its protocol tells; by UDP, that were sent.
    pub sent: u64,
    /// Changes that were gone before they could be sent: the other side was away for too long, or is too slow.
    pub lost: u64,
    /// Connections that failed or broke.
    pub failures: u64,
    /// Why the last one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Export {
    /// Not begun yet.
    pub fn new(address: Address) -> Self {
        Self { address, counters: Counters::default() }
    }

    /// As it is now.
    pub fn view(&self) -> ExportView {
        let Counters { sent, lost, failures, connected, error } = &self.counters;
        ExportView {
            to: self.address.to_string(),
            connected: connected.load(Ordering::Relaxed),
            sent: sent.load(Ordering::Relaxed),
            lost: lost.load(Ordering::Relaxed),
            failures: failures.load(Ordering::Relaxed),
            error: error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    fn failed(&self, error: &io::Error) {
        let Counters { failures, connected, error: last, .. } = &self.counters;
        failures.fetch_add(1, Ordering::Relaxed);
        // The first of a row is news; the rest is in the counters.
        let text = error.to_string();
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        if connected.swap(false, Ordering::Relaxed) || last.as_ref() != Some(&text) {
            tracing::warn!(to = %self.address, %error, "export: not sent; trying again");
        }
        *last = Some(text);
    }

    fn reached(&self) {
        if !self.counters.connected.swap(true, Ordering::Relaxed) {
            tracing::info!(to = %self.address, "export: connected");
        }
    }
}

/// One kind of exporter.
#[derive(Debug)]
enum Exporter {
    Ipfix(ipfix::Exporter),
    Lines(lines::Lines),
    Nats(Box<nats::Publisher>),
}

impl Exporter {
    fn new(address: &Address) -> Self {
        match address {
            Address::Ipfix(collector) => Self::Ipfix(ipfix::Exporter::new(collector.clone())),
            Address::Lines(path) => Self::Lines(lines::Lines::new(path.clone())),
            Address::Nats(broker) => Self::Nats(Box::new(nats::Publisher::new(broker.clone()))),
        }
    }

    async fn connect(&mut self, shared: &Shared) -> io::Result<()> {
        match self {
            Self::Ipfix(exporter) => exporter.connect(shared).await,
            Self::Lines(lines) => lines.open().await,
            Self::Nats(publisher) => publisher.connect().await,
        }
    }

    /// Returns how many records the other side has got of them.
    async fn send(&mut self, records: &[Arc<Record>], shared: &Shared) -> io::Result<u64> {
        match self {
            Self::Ipfix(exporter) => exporter.send(records, shared).await,
            Self::Lines(lines) => lines.send(records, shared).await,
            Self::Nats(publisher) => publisher.send(records, shared).await,
        }
    }

    /// Waits until there is something to send that no change tells of. May be given up at any time.
    async fn due(&self) {
        match self {
            Self::Ipfix(exporter) => exporter.due().await,
            Self::Lines(_) | Self::Nats(_) => std::future::pending().await,
        }
    }

    /// Sends it, `after` being the last change that was sent; returns how many records the other side has got.
    async fn regularly(&mut self, shared: &Shared, after: u64) -> io::Result<u64> {
        match self {
            Self::Ipfix(exporter) => exporter.regularly(shared, after).await,
            Self::Lines(_) | Self::Nats(_) => Ok(0),
        }
    }

    /// The agent ends, and all changes were sent.
    async fn finish(&mut self, shared: &Shared) -> io::Result<u64> {
        match self {
            Self::Ipfix(exporter) => exporter.finish(shared).await,
            Self::Lines(_) | Self::Nats(_) => Ok(0),
        }
    }
}

/// Sends all changes from here on, whatever breaks, until the sender of `stopped` is gone; then what is left.
pub async fn run(export: Arc<Export>, shared: Arc<Shared>, mut stopped: watch::Receiver<()>) {
    let mut exporter = Exporter::new(&export.address);
    let (mut after, mut wait) = (0, WAITS.0);
    loop {
        let connected = timeout(PATIENCE, exporter.connect(&shared)).await;
        let outcome = match connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(()) => {
                export.reached();
                wait = WAITS.0;
                session(&export, &mut exporter, &shared, &mut after, &mut stopped).await
            }
            Err(error) => Err(error),
        };
        match outcome {
            Ok(()) => return,
            Err(error) => export.failed(&error),
        }
        tokio::select! {
            () = sleep(wait) => wait = (wait * 2).min(WAITS.1),
            _ = stopped.changed() => return count_rest(&export, &shared, after),
        }
    }
}

/// Sends until the agent ends.
async fn session(
    export: &Export,
    exporter: &mut Exporter,
    shared: &Shared,
    after: &mut u64,
    stopped: &mut watch::Receiver<()>,
) -> io::Result<()> {
    let Counters { sent, lost, .. } = &export.counters;
    let mut ends = false;
    loop {
        let records = tokio::select! {
            records = shared.log.next(*after, CHUNK) => records,
            // Whatever is given up here has sent nothing yet.
            () = exporter.due() => {
                sent.fetch_add(exporter.regularly(shared, *after).await?, Ordering::Relaxed);
                continue;
            }
            _ = stopped.changed(), if !ends => {
                ends = true;
                continue;
            }
            // Nothing is left in the log.
            () = std::future::ready(()), if ends && *after == shared.log.latest() => {
                sent.fetch_add(exporter.finish(shared).await?, Ordering::Relaxed);
                return Ok(());
            }
        };
        match records {
            Ok(records) => {
                sent.fetch_add(exporter.send(&records, shared).await?, Ordering::Relaxed);
                *after = records.last().map_or(*after, |record| record.number);
            }
            Err(Gone { oldest }) => {
                lost.fetch_add(oldest - 1 - *after, Ordering::Relaxed);
                *after = oldest - 1;
            }
        }
    }
}

/// The agent ends without having reached the other side again.
fn count_rest(export: &Export, shared: &Shared, after: u64) {
    let left = shared.log.latest().saturating_sub(after);
    if left > 0 {
        tracing::warn!(to = %export.address, changes = left, "export: never sent");
        export.counters.lost.fetch_add(left, Ordering::Relaxed);
    }
}

/// A change as one JSON object.
fn json(record: &Record, shared: &Shared, host: &str) -> String {
    // Names of ours, and a host's name: the JSON of a string of it is what needs care.
    let host = serde_json::to_string(host).unwrap_or_default();
    format!(
        "{{\"event\":\"{}\",\"id\":\"{}\",\"host\":{host},\"flow\":{}}}",
        record.change.name(),
        id(record, shared),
        record.json(shared)
    )
}

/// A change's name: the same however often it is sent, and whatever agent sends it.
fn id(record: &Record, shared: &Shared) -> String {
    format!("{}-{}", crate::api::state::read(&shared.agent).instance, record.number)
}

/// This machine's name.
fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn other(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(error.to_string())
}
