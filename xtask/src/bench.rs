//! `bench`: builds the agent and what measures it, and starts the latter, whose options these are.

use anyhow::Result;
use clap::Args;

use crate::{
    build::{self, Profile},
    setup::{self, Scope},
    workspace,
};

/// What to measure.
#[derive(Args)]
#[command(disable_help_flag = true)]
pub struct Arguments {
    /// What to measure, and how; `cargo xtask bench --help` tells
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    to_benchmark: Vec<String>,
}

/// The verb.
pub fn main(arguments: &Arguments) -> Result<()> {
    setup::ensure(&[Scope::Run])?;
    let ntc = build::agent(Profile::Release)?;
    workspace::run(workspace::cargo().args(["build", "--release", "--package", "ntc-bench"]))?;
    workspace::run(workspace::command(ntc.with_file_name("ntc-bench")).args(&arguments.to_benchmark))
}
