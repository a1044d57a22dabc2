//! The kernel's clocks.

use rustix::time::{ClockId, clock_gettime};

/// `CLOCK_MONOTONIC` in ns: the clock of `bpf_ktime_get_ns`, by which live flows are stamped.
pub fn monotonic_ns() -> u64 {
    ns(ClockId::Monotonic)
}

/// Unix time in ns of a `CLOCK_MONOTONIC` time, by today's distance between the two clocks.
pub fn unix_ns(monotonic: u64) -> u64 {
    ns(ClockId::Realtime).saturating_sub(monotonic_ns()).saturating_add(monotonic)
}

fn ns(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    (time.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(time.tv_nsec as u64)
}
