//! `build`: the agent, whose build script compiles and embeds the BPF object.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::{
    setup::{self, Scope},
    workspace,
};

/// What to build.
#[derive(Args)]
pub struct Arguments {
    /// Build without optimisation of the user-space part, and with messages from the BPF programs
    #[arg(long, conflicts_with = "release")]
    debug: bool,
    /// Build with optimisation, as is done without any flag
    #[arg(long)]
    release: bool,
}

/// Cargo's profile to build with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// What is installed.
    Release,
    /// The BPF programs tell what they do.
    Debug,
}

/// The verb.
pub fn main(arguments: &Arguments) -> Result<()> {
    setup::ensure(&[Scope::Build])?;
    let binary = agent(if arguments.debug { Profile::Debug } else { Profile::Release })?;
    println!("{}", binary.display());
    Ok(())
}

/// Compiles the agent and returns the binary's path; the caller has set up.
pub fn agent(profile: Profile) -> Result<PathBuf> {
    let (flag, folder): (&[_], _) = match profile {
        Profile::Release => (&["--release"], "release"),
        Profile::Debug => (&[], "debug"),
    };
    workspace::run(workspace::cargo().args(["build", "--package", "ntc-user", "--bin", "ntc"]).args(flag))?;
    Ok(workspace::target()?.join(folder).join("ntc"))
}
