//! Programs that a test starts.

use std::process::Child;

use rustix::process::{Pid, Signal, kill_process};

/// Ends with the test, asked to, so that it takes what it started with it.
#[derive(Debug)]
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        // What was waited for has no id any more: another may have it.
        if let (Ok(None), Some(pid)) = (self.0.try_wait(), Pid::from_raw(self.0.id() as i32)) {
            // Gone already: as good.
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.0.wait();
    }
}
