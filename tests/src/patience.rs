//! How long a test waits for what must come: longer where processors are emulated.

use std::time::Duration;

/// Names the variable that says how many times as long as on a machine of its own. The guest's job sets it
/// (`xtask/src/guest/job.rs`).
const PATIENCE: &str = "NTC_TEST_PATIENCE";

/// A limit on this machine, of what it is where processors are real.
#[must_use]
pub fn patient(limit: Duration) -> Duration {
    limit * factor()
}

fn factor() -> u32 {
    std::env::var(PATIENCE).ok().and_then(|factor| factor.parse().ok()).unwrap_or(1)
}
