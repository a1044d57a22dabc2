//! The programs under test, each behind the same walk over the flows.

use anyhow::{Context as _, Result};
use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, ProgramArray},
    programs::{ProgramFd, SchedClassifier, TestRun as _, TestRunOptions, Xdp},
};

#[path = "../../../ntc-ebpf/src/bench/walk.rs"]
mod walk;

pub use walk::Walk;

/// The object with references, walks, source and sink, built by `build.rs` from `ntc-ebpf/src/bench`.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/bench"));

// SAFETY: four words without padding, any bits are a value.
unsafe impl aya::Pod for Walk {}

/// Packets of one test run. The ring has room for more records than these, so that no record is lost within a run.
pub const RUN_PACKETS: u32 = 32_768;

/// The benchmark's own object, loaded.
pub struct Bench {
    ebpf: Ebpf,
}

/// Where in the kernel a program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// XDP.
    Xdp,
    /// tc.
    Tc,
}

impl Hook {
    const fn walk(self) -> &'static str {
        match self {
            Self::Xdp => "bench_walk_xdp",
            Self::Tc => "bench_walk_tc",
        }
    }

    const fn target(self) -> &'static str {
        match self {
            Self::Xdp => "XDP_TARGET",
            Self::Tc => "TC_TARGET",
        }
    }
}

impl Bench {
    /// Loads the object with reference tables for so many flows.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn load(max_flows: u32) -> Result<Self> {
        let mut ebpf = EbpfLoader::new()
            .map_max_entries("FLOWS_REFERENCE", max_flows)
            .map_max_entries("LABELS_REFERENCE", max_flows)
            .load(OBJECT)
            .context("the benchmark's object")?;
        for name in
            ["bench_walk_xdp", "bench_pass", "bench_reference", "bench_fill", "bench_source", "bench_sink"]
        {
            let program: &mut Xdp = ebpf.program_mut(name).context(name)?.try_into()?;
            program.load().context(name)?;
        }
        for name in ["bench_walk_tc", "bench_pass_tc", "bench_reference_tc"] {
            let program: &mut SchedClassifier = ebpf.program_mut(name).context(name)?.try_into()?;
            program.load().context(name)?;
        }
        Ok(Self { ebpf })
    }

    /// The object.
    pub fn ebpf(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }

    /// Descriptor of a program of this object, to be kept.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn program(&self, name: &str) -> Result<ProgramFd> {
        Ok(self.ebpf.program(name).context("no such program")?.fd()?.try_clone()?)
    }

    /// Puts a program behind the walk.
    ///
    /// # Errors
    /// The kernel takes it for another kind of program.
    pub fn aim(&mut self, hook: Hook, program: &ProgramFd) -> Result<()> {
        let map = self.ebpf.map_mut(hook.target()).context("target")?;
        Ok(ProgramArray::try_from(map)?.set(0, program, 0)?)
    }

    /// Says which flows the next packets belong to.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn walk(&mut self, walk: Walk) -> Result<()> {
        let map = self.ebpf.map_mut("WALK").context("WALK")?;
        Ok(Array::<_, Walk>::try_from(map)?.set(0, walk, 0)?)
    }

    /// Where the walk has come to.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn position(&self) -> Result<Walk> {
        let map = self.ebpf.map("WALK").context("WALK")?;
        Ok(Array::<_, Walk>::try_from(map)?.get(&0, 0)?)
    }

    /// Sends packets through the walk, in runs of [`RUN_PACKETS`]; `between` is called after each and not measured.
    /// Returns ns a packet.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn send(&mut self, hook: Hook, frame: &[u8], packets: u64, mut between: impl FnMut()) -> Result<f64> {
        let (mut left, mut sum_ns) = (packets, 0.0);
        while left > 0 {
            let repeat = left.min(RUN_PACKETS.into());
            sum_ns += repeat as f64 * self.run(hook.walk(), hook, frame, repeat as u32)?;
            left -= repeat;
            between();
        }
        Ok(sum_ns / packets as f64)
    }

    /// Runs one program of this object without a walk; ns a packet.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn run(&mut self, name: &str, hook: Hook, frame: &[u8], repeat: u32) -> Result<f64> {
        let options = TestRunOptions { data_in: Some(frame), repeat, ..TestRunOptions::new() };
        let program = self.ebpf.program_mut(name).context("no such program")?;
        let result = match hook {
            Hook::Xdp => TryInto::<&mut Xdp>::try_into(program)?.test_run(options)?,
            Hook::Tc => TryInto::<&mut SchedClassifier>::try_into(program)?.test_run(options)?,
        };
        Ok(result.duration.as_nanos() as f64)
    }
}
