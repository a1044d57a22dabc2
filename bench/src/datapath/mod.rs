//! What a packet costs in the kernel, by `BPF_PROG_TEST_RUN`.

pub mod memory;
pub mod programs;
pub mod tc;
pub mod xdp;
