//! Questions in batches: a model answers thirty-two flows in little more than twice the time of one.

use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

/// Flows in a batch at most: more no longer fit the cache and are slower for each (`cargo xtask bench`).
pub const BATCH_FLOWS: usize = 32;
/// A question waits no longer than this for others to come along.
pub const BATCH_DEADLINE: Duration = Duration::from_micros(500);

/// Waits for the next batch: until it is full or its first question has waited for the deadline. `None` when
/// all senders are gone and everything was handed out.
pub fn next<T>(questions: &Receiver<T>, batch: &mut Vec<T>) -> Option<()> {
    batch.clear();
    batch.push(questions.recv().ok()?);
    let deadline = Instant::now() + BATCH_DEADLINE;
    while batch.len() < BATCH_FLOWS {
        let Ok(question) = questions.recv_deadline(deadline) else { break };
        batch.push(question);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::bounded;

    #[test]
    fn batches_are_full_or_late_and_lose_nothing() {
        let (sender, receiver) = bounded(100);
        (0..BATCH_FLOWS + 3).for_each(|i| sender.send(i).expect("room"));
        drop(sender);
        let mut batch = Vec::new();
        let mut sizes = Vec::new();
        let mut all = Vec::new();
        while next(&receiver, &mut batch).is_some() {
            sizes.push(batch.len());
            all.append(&mut batch);
        }
        assert_eq!(sizes, [BATCH_FLOWS, 3]);
        assert_eq!(all, (0..BATCH_FLOWS + 3).collect::<Vec<_>>());
    }
}
