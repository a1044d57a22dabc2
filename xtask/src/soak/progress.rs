//! Says how far the soak is: a line that is written over on a terminal, a line a minute elsewhere.

use std::{
    io::{IsTerminal as _, Write as _, stdout},
    time::{Duration, Instant},
};

use super::sample::Sample;

/// Characters of the bar.
const BAR: usize = 30;

/// Where it is shown.
pub(super) struct Progress {
    terminal: bool,
    start: Instant,
    length: Duration,
    next: Instant,
}

impl Progress {
    /// Begins to show a run of this length.
    pub(super) fn new(length: Duration) -> Self {
        let now = Instant::now();
        Self { terminal: stdout().is_terminal(), start: now, length, next: now }
    }

    /// Shows the latest sample, if it is time to.
    pub(super) fn show(&mut self, sample: Option<&Sample>, flood: Option<&str>) {
        let now = Instant::now();
        let Some(sample) = sample.filter(|_| now >= self.next) else { return };
        self.next = now + Duration::from_secs(if self.terminal { 1 } else { 60 });
        let done = now - self.start;
        let state = format!(
            "{:>5} of {} s, resident {:.1} MiB, {} descriptors, {} packets, {} labels, ledger {}, flood {}",
            done.as_secs(),
            self.length.as_secs(),
            sample.cost.rss_kib as f64 / 1024.0,
            sample.cost.descriptors,
            sample.seen,
            sample.labelled,
            if sample.ledger_closes { "closes" } else { "OPEN" },
            flood.unwrap_or("none")
        );
        let mut out = stdout().lock();
        // Nobody to show it to is no reason to end.
        let _ = if self.terminal {
            let filled = (BAR as f64 * (done.as_secs_f64() / self.length.as_secs_f64()).min(1.0)) as usize;
            write!(out, "\r\x1b[K[{:<BAR$}] {state}", "#".repeat(filled))
        } else {
            writeln!(out, "{state}")
        };
        let _ = out.flush();
    }

    /// Leaves the line.
    pub(super) fn end(&self) {
        if self.terminal {
            println!();
        }
    }
}
