//! `bench`: the benchmarks of all crates.

use anyhow::{Result, ensure};
use clap::Args;

use crate::{
    setup::{self, Scope},
    workspace,
};

/// What to measure.
#[derive(Args)]
pub struct Arguments {
    /// Passed to the benchmarks, after cargo's own `--`
    #[arg(last = true)]
    to_benchmarks: Vec<String>,
}

/// The verb. Unit tests are no benchmarks: only the files in `benches/` are run.
pub fn main(arguments: &Arguments) -> Result<()> {
    setup::ensure(&[Scope::Run])?;
    let members = std::fs::read_dir(workspace::root())?.filter_map(Result::ok);
    ensure!(
        members.into_iter().any(|member| member.path().join("benches").is_dir()),
        "no crate of the workspace has a benches/ folder"
    );
    let mut cargo = workspace::cargo();
    cargo.args(["bench", "--workspace", "--exclude", "ntc-ebpf", "--bench", "*", "--"]);
    cargo.args(&arguments.to_benchmarks);
    workspace::run(&mut cargo)
}
