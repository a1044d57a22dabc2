//! The heartbeat: labels count only while the agent moves their deadline.

use std::time::{Duration, Instant};

use aya::{
    Ebpf,
    maps::{Array, MapData},
    programs::{SocketFilter, TestRun as _, TestRunOptions},
};
use ntc_common::label::Heartbeat as Slot;

use super::{KernelError, load};

/// The agent moves the deadline on so often.
pub const PERIOD: Duration = Duration::from_secs(1);
/// Labels outlive a dead agent by no more than this: two beats may be late.
pub const LIFETIME: Duration = Duration::from_secs(3);

/// Length of an Ethernet header: `BPF_PROG_TEST_RUN` takes it off before a socket filter runs.
const ETHERNET: usize = 14;

/// Runs the heartbeat program, since only the kernel can read its jiffies.
#[derive(Debug)]
pub struct Heartbeat {
    /// Jiffies a second, measured: user space has no way to ask for `CONFIG_HZ`.
    hz: u64,
}

impl Heartbeat {
    /// Measures the rate of jiffies and lets labels count.
    ///
    /// # Errors
    /// The program could not be run.
    pub fn start(ebpf: &mut Ebpf) -> Result<Self, KernelError> {
        let (first, began) = (tick(ebpf)?, Instant::now());
        std::thread::sleep(Duration::from_millis(40));
        let (second, took) = (tick(ebpf)?, began.elapsed());
        let measured = second.saturating_sub(first) as f64 / took.as_secs_f64();
        // The kernel is built for one of these (kernel/Kconfig.hz).
        let rate = |hz: &u64| ((*hz as f64 - measured).abs() * 1000.0) as u64;
        let hz = [100, 250, 300, 1000].into_iter().min_by_key(rate).unwrap_or(100);
        let heartbeat = Self { hz };
        heartbeat.beat(ebpf)?;
        Ok(heartbeat)
    }

    /// Lets labels count for [`LIFETIME`] from now.
    ///
    /// # Errors
    /// The program could not be run.
    pub fn beat(&self, ebpf: &mut Ebpf) -> Result<(), KernelError> {
        extend(ebpf, LIFETIME.as_secs() * self.hz)
    }

    /// Ends all labels at once.
    ///
    /// # Errors
    /// The program could not be run.
    pub fn stop(&self, ebpf: &mut Ebpf) -> Result<(), KernelError> {
        extend(ebpf, 0)
    }
}

/// Jiffies now; labels stop counting.
fn tick(ebpf: &mut Ebpf) -> Result<u64, KernelError> {
    extend(ebpf, 0)?;
    let map = ebpf.map("HEARTBEAT").ok_or(KernelError::Missing("HEARTBEAT"))?;
    let slot = Array::<&MapData, Slot>::try_from(map).and_then(|array| array.get(&0, 0));
    slot.map(|slot| slot.set_at).map_err(KernelError::map("HEARTBEAT"))
}

fn extend(ebpf: &mut Ebpf, jiffies: u64) -> Result<(), KernelError> {
    let mut data = [0; ETHERNET + 8];
    data[ETHERNET..].copy_from_slice(&jiffies.to_le_bytes());
    load::program::<SocketFilter>(ebpf, load::HEARTBEAT)?
        .test_run(TestRunOptions { data_in: Some(&data), ..TestRunOptions::new() })
        .map(drop)
        .map_err(|source| KernelError::Program { program: load::HEARTBEAT, source: Box::new(source) })
}
