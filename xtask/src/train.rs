//! `train`: the Python training package in `models/`, in its own environment.

use anyhow::Result;
use clap::Args;

use crate::{
    setup::{self, Scope, TRAINING},
    workspace,
};

/// What to train.
#[derive(Args)]
pub struct Arguments {
    /// Passed to `python -m ntc_models`, whose commands `cargo xtask train -- --help` lists
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    to_package: Vec<String>,
}

/// The verb.
pub fn main(arguments: &Arguments) -> Result<()> {
    setup::ensure(&[Scope::Train])?;
    let mut python = workspace::command(TRAINING.python());
    python.env("PYTHONPATH", workspace::root().join("models"));
    python.args(["-m", "ntc_models"]).args(&arguments.to_package);
    workspace::run(&mut python)
}
