//! The kernel's clocks.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// `CLOCK_MONOTONIC` in ns: the clock of `bpf_ktime_get_ns`, by which live flows are stamped.
pub fn monotonic_ns() -> u64 {
    ns(ClockId::Monotonic)
}

/// Processor time of the calling thread: what its work takes, whoever else wants the processor.
pub fn thread_time() -> Duration {
    Duration::from_nanos(ns(ClockId::ThreadCPUTime))
}

/// From `CLOCK_MONOTONIC` to Unix time, by the distance between the two clocks. It is kept while the clocks run alike, so
/// that a flow's first packet has one Unix time however often it is told; it is taken anew when the wall clock was set,
/// or when the machine slept, during which `CLOCK_MONOTONIC` stands still.
///
/// This is the only use of the wall clock in the agent: times of flows, labels and the heartbeat do not know it.
#[derive(Clone, Copy, Debug)]
pub struct UnixTime {
    offset_ns: u64,
}

/// Clocks that drift apart by less are being disciplined, not set.
const STEP_NS: u64 = 1_000_000_000;

impl UnixTime {
    /// By the distance as it is now.
    pub fn now() -> Self {
        Self { offset_ns: distance_ns() }
    }

    /// Takes the distance anew if the wall clock was set since, or the machine slept.
    pub fn follow(&mut self) {
        self.follow_to(distance_ns());
    }

    const fn follow_to(&mut self, offset_ns: u64) {
        if self.offset_ns.abs_diff(offset_ns) >= STEP_NS {
            self.offset_ns = offset_ns;
        }
    }

    /// Unix time in ns of a `CLOCK_MONOTONIC` time in ns.
    pub const fn of(self, monotonic_ns: u64) -> u64 {
        self.offset_ns.saturating_add(monotonic_ns)
    }
}

fn distance_ns() -> u64 {
    ns(ClockId::Realtime).saturating_sub(monotonic_ns())
}

fn ns(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    (time.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(time.tv_nsec as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_that_is_set_is_followed_and_one_that_is_disciplined_is_not() {
        let mut time = UnixTime { offset_ns: 1_000 * STEP_NS };
        let first_packet = 5 * STEP_NS;
        let told = time.of(first_packet);
        time.follow_to(1_000 * STEP_NS + STEP_NS / 2);
        assert_eq!(time.of(first_packet), told, "the same flow keeps its time");
        // Set forward by years (a router without a battery), set back, and a night's sleep.
        for offset in [1_700_000_000 * STEP_NS, 900 * STEP_NS, (900 + 8 * 3_600) * STEP_NS] {
            time.follow_to(offset);
            assert_eq!(time.of(first_packet), offset + first_packet);
        }
    }

    #[test]
    fn differences_between_flow_times_are_those_of_the_kernels_clock() {
        let time = UnixTime::now();
        assert_eq!(time.of(7_000) - time.of(4_000), 3_000);
        let (before, unix, after) = (ns(ClockId::Realtime), time.of(monotonic_ns()), ns(ClockId::Realtime));
        assert!(before.saturating_sub(STEP_NS) <= unix && unix <= after + STEP_NS, "{before} {unix} {after}");
    }
}
