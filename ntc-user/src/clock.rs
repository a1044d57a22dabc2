//! The kernel's clocks.

use rustix::time::{ClockId, clock_gettime};

/// `CLOCK_MONOTONIC` in ns: the clock of `bpf_ktime_get_ns`, by which live flows are stamped.
pub fn monotonic_ns() -> u64 {
    ns(ClockId::Monotonic)
}

/// From `CLOCK_MONOTONIC` to Unix time, by the distance between the two clocks when this was made: one distance
/// for all times, so that a flow's first packet has one Unix time however often it is told.
#[derive(Clone, Copy, Debug)]
pub struct UnixTime {
    offset_ns: u64,
}

impl UnixTime {
    /// By the distance as it is now.
    pub fn now() -> Self {
        Self { offset_ns: ns(ClockId::Realtime).saturating_sub(monotonic_ns()) }
    }

    /// Unix time in ns of a `CLOCK_MONOTONIC` time in ns.
    pub const fn of(self, monotonic_ns: u64) -> u64 {
        self.offset_ns.saturating_add(monotonic_ns)
    }
}

fn ns(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    (time.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(time.tv_nsec as u64)
}
