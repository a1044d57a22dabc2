//! What a packet costs in the kernel, by `BPF_PROG_TEST_RUN`.

mod memory;
mod programs;
mod xdp;

pub use programs::{Bench, Walk};

use anyhow::Result;

use crate::report::Report;

/// Table sizes, in live flows.
const SIZES: [u32; 4] = [1, 1 << 10, 1 << 16, 1 << 20];

/// Measures all rows.
///
/// # Errors
/// What the kernel said.
pub fn measure(rounds: usize) -> Result<Report> {
    xdp::measure(rounds)
}
