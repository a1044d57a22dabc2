//! How long a test waits for what must come: longer where processors are emulated.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::bail;

/// Names the variable that says how many times as long as on a machine of its own. The guest's job sets it
/// (`xtask/src/guest/job.rs`).
const PATIENCE: &str = "NTC_TEST_PATIENCE";

/// A limit on this machine, of what it is where processors are real.
#[must_use]
pub fn patient(limit: Duration) -> Duration {
    limit * factor()
}

/// Looks again and again until there is something.
///
/// # Errors
/// That of a look, or nothing came within the limit.
pub fn until<T>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + patient(limit);
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if Instant::now() > deadline {
            bail!("never came: {what}");
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn factor() -> u32 {
    std::env::var(PATIENCE).ok().and_then(|factor| factor.parse().ok()).unwrap_or(1)
}
