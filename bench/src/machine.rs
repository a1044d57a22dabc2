//! The machine that the figures are of.

use std::{
    fs,
    hint::black_box,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::Serialize;

/// What a reader has to know to compare figures.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// As the processor names itself.
    pub cpu: String,
    /// Processors.
    pub cores: usize,
    /// Whether it is a virtual one.
    pub virtual_machine: bool,
    /// Of the first processor; none where the machine does not say.
    pub governor: Option<String>,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Release of the kernel.
    pub kernel: String,
    /// Tasks that ran or waited to run in the last minute, before the start: figures of a busy machine are worse.
    pub load: f64,
    /// Processor that the measurements are pinned to, if they are.
    pub pinned_to: Option<usize>,
}

impl Machine {
    /// This one. Pins the calling thread, and so all its children, to one processor.
    ///
    /// # Errors
    /// `/proc` cannot be read, or the thread cannot be pinned.
    pub fn pin() -> Result<Self> {
        let mut machine = Self::whole()?;
        // The last one that may be used: interrupts tend to go to the first.
        let allowed = sched_getaffinity(None)?;
        let pinned_to =
            (0..CpuSet::MAX_CPU).rev().find(|cpu| allowed.is_set(*cpu)).context("no processor")?;
        let mut one = CpuSet::new();
        one.set(pinned_to);
        sched_setaffinity(None, &one)?;
        machine.pinned_to = Some(pinned_to);
        Ok(machine)
    }

    /// This one, with all its processors.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub fn whole() -> Result<Self> {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
        let cpu = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let memory = fs::read_to_string("/proc/meminfo")?;
        let kib = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next());
        let load = fs::read_to_string("/proc/loadavg")?;
        let governor = fs::read_to_string("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").ok();
        Ok(Self {
            cpu: cpu.map_or("unknown", |(_, name)| name).to_owned(),
            cores: cpuinfo.lines().filter(|line| line.starts_with("processor")).count(),
            virtual_machine: cpuinfo.contains(" hypervisor "),
            governor: governor.map(|name| name.trim().to_owned()),
            memory_mib: kib.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024,
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            load: load.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0),
            pinned_to: None,
        })
    }
}

/// Calls a function with all processors: what it starts keeps them.
///
/// # Errors
/// The thread's processors cannot be changed.
pub fn on_all_processors<T>(start: impl FnOnce() -> T) -> Result<T> {
    let pinned = sched_getaffinity(None)?;
    let mut all = CpuSet::new();
    // The kernel leaves out those that are not there.
    (0..CpuSet::MAX_CPU).for_each(|cpu| all.set(cpu));
    sched_setaffinity(None, &all)?;
    let started = start();
    sched_setaffinity(None, &pinned)?;
    Ok(started)
}

/// About what a batch of questions takes.
pub const ARITHMETIC: Duration = Duration::from_millis(1);

/// How long the same piece of arithmetic takes, over and over for `lasting`: µs, for each [`ARITHMETIC`] that passed, as
/// somebody meets it who comes at any time. A machine that keeps its speed takes [`ARITHMETIC`]; what takes longer, no
/// program on it can help.
pub fn arithmetic(lasting: Duration) -> Vec<f64> {
    let piece = |steps: u64| {
        let start = Instant::now();
        let mut word = black_box(1u64);
        (0..steps).for_each(|_| word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        black_box(word);
        start.elapsed()
    };
    let quickest = (0..100).map(|_| piece(10_000)).min().unwrap_or_default();
    let steps = (10_000.0 * ARITHMETIC.as_secs_f64() / quickest.as_secs_f64().max(1e-9)) as u64;
    let start = Instant::now();
    let mut us = Vec::new();
    while start.elapsed() < lasting {
        let took = piece(steps);
        let passed = (took.as_secs_f64() / ARITHMETIC.as_secs_f64()).round().max(1.0) as usize;
        us.extend(std::iter::repeat_n(took.as_secs_f64() * 1e6, passed));
    }
    us
}

impl std::fmt::Display for Machine {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            out,
            "{}{}, {} cores, {} MiB, Linux {}, governor {}, {}, load {} before",
            self.cpu,
            if self.virtual_machine { " (virtual machine)" } else { "" },
            self.cores,
            self.memory_mib,
            self.kernel,
            self.governor.as_deref().unwrap_or("not shown"),
            self.pinned_to.map_or("not pinned".to_owned(), |cpu| format!("pinned to processor {cpu}")),
            self.load
        )
    }
}
