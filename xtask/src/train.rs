//! `train`: the Python training package in `models/`, in its own environment.

use anyhow::Result;
use clap::Args;

use crate::{
    build::{self, Profile},
    setup::{self, Scope, TRAINING},
    workspace,
};

/// Commands of the package that read captures with the agent.
const WITH_AGENT: [&str; 2] = ["extract", "rebuild"];

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
    let with_agent = arguments.to_package.first().is_some_and(|verb| WITH_AGENT.contains(&verb.as_str()));
    let mut python = workspace::command(TRAINING.python());
    python.env("PYTHONPATH", workspace::root().join("models"));
    python.args(["-m", "ntc_models"]).args(&arguments.to_package);
    if with_agent {
        setup::ensure(&[Scope::Build])?;
        python.arg("--ntc").arg(build::agent(Profile::Release)?);
    }
    workspace::run(&mut python)
}
