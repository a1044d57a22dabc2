//! What became of labels, numbered, for everybody who follows: the last [`CAPACITY`] changes. A reader holds a number,
//! not a place in a queue, so that one who is slow costs nothing but himself.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use ntc_common::key::FlowKey;
use tokio::sync::watch;

use super::{
    mirror::{Change, Entry},
    state::Shared,
    view::FlowView,
};
use crate::clock::UnixTime;

/// Changes that are kept: some seconds' worth on a busy router, about 250 bytes each, and 700 more where somebody follows.
pub const CAPACITY: usize = 16_384;

/// One change.
#[derive(Debug)]
pub struct Record {
    /// Its number, from 1.
    pub number: u64,
    /// What happened.
    pub change: Change,
    /// The flow's key.
    pub key: FlowKey,
    /// The flow then.
    pub entry: Entry,
    /// Unix time then, of the kernel's clock.
    pub unix_time: UnixTime,
    /// The flow as JSON, from the first reader on.
    json: OnceLock<Box<str>>,
}

impl Record {
    /// The flow then.
    pub fn view(&self, shared: &Shared) -> FlowView {
        shared.view(&self.key, &self.entry, self.unix_time)
    }

    /// The flow then as JSON: written once, however many readers follow, and never where nobody does.
    pub fn json(&self, shared: &Shared) -> &str {
        // Numbers, names and addresses: nothing that JSON cannot hold.
        self.json
            .get_or_init(|| serde_json::to_string(&self.view(shared)).unwrap_or_default().into_boxed_str())
    }
}

/// The reader asks for changes that are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone {
    /// The oldest that there is.
    pub oldest: u64,
}

/// The latest changes.
#[derive(Debug)]
pub struct Log {
    records: Mutex<VecDeque<Arc<Record>>>,
    /// The latest number.
    latest: watch::Sender<u64>,
    capacity: usize,
}

impl Default for Log {
    fn default() -> Self {
        Self::with_capacity(CAPACITY)
    }
}

impl Log {
    /// Keeps so many.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { records: Mutex::default(), latest: watch::Sender::new(0), capacity }
    }

    /// Adds a change.
    pub fn push(&self, change: Change, key: FlowKey, entry: &Entry, unix_time: UnixTime) {
        let json = OnceLock::new();
        let mut records = self.records();
        let number = *self.latest.borrow() + 1;
        if records.len() >= self.capacity {
            records.pop_front();
        }
        records.push_back(Arc::new(Record { number, change, key, entry: *entry, unix_time, json }));
        self.latest.send_replace(number);
    }

    /// The latest change's number; 0 before the first.
    pub fn latest(&self) -> u64 {
        *self.latest.borrow()
    }

    /// Up to `limit` changes behind number `after`.
    ///
    /// # Errors
    /// Some of them are gone, or the number was never given.
    pub fn after(&self, after: u64, limit: usize) -> Result<Vec<Arc<Record>>, Gone> {
        let records = self.records();
        let first = records.front().map_or(self.latest() + 1, |record| record.number);
        if after + 1 < first || after > self.latest() {
            return Err(Gone { oldest: first });
        }
        let skip = usize::try_from(after + 1 - first).unwrap_or(usize::MAX);
        Ok(records.iter().skip(skip).take(limit).cloned().collect())
    }

    /// As [`after`](Self::after), at least one: waits for it.
    ///
    /// # Errors
    /// Some of them are gone, or the number was never given.
    pub async fn next(&self, after: u64, limit: usize) -> Result<Vec<Arc<Record>>, Gone> {
        let mut news = self.latest.subscribe();
        loop {
            let records = self.after(after, limit)?;
            // The sender is this log's, so there is always more to wait for.
            if !records.is_empty() || news.wait_for(|latest| *latest > after).await.is_err() {
                return Ok(records);
            }
        }
    }

    fn records(&self) -> MutexGuard<'_, VecDeque<Arc<Record>>> {
        // Whoever died with the lock held had finished a push or not begun it.
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(log: &Log) {
        let (key, entry) = crate::api::mirror::tests::entry(1);
        log.push(Change::New, key, &entry, UnixTime::now());
    }

    #[test]
    fn a_reader_gets_each_change_once_or_is_told_that_some_are_gone() {
        let log = Log::with_capacity(4);
        let numbers = |after| {
            let records = log.after(after, 3)?;
            Ok::<_, Gone>(records.iter().map(|record| record.number).collect::<Vec<_>>())
        };
        assert_eq!(numbers(0), Ok(vec![]));
        (0..3).for_each(|_| push(&log));
        assert_eq!(numbers(0), Ok(vec![1, 2, 3]));
        assert_eq!(numbers(3), Ok(vec![]));
        assert_eq!(numbers(4), Err(Gone { oldest: 1 }), "never given");
        (0..3).for_each(|_| push(&log));
        assert_eq!(numbers(1), Err(Gone { oldest: 3 }), "2 had to go");
        assert_eq!(numbers(2), Ok(vec![3, 4, 5]));
        assert_eq!(numbers(5), Ok(vec![6]));
        assert_eq!(log.latest(), 6);
    }
}
