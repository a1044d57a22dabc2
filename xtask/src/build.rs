//! `build`: the agent, whose build script compiles and embeds the BPF object.

use std::{
    fs,
    os::unix,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use clap::Args;

use crate::{
    setup::{self, Scope},
    workspace,
};

/// ONNX Runtime, as `ntc` looks for it.
const LIBRARY: &str = "libonnxruntime.so";

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
    let binary = workspace::target()?.join(folder).join("ntc");
    library_beside(&binary)?;
    Ok(binary)
}

/// Servers and clients of generated traffic, as [`traffic`] leaves them.
pub fn traffic_program() -> Result<PathBuf> {
    Ok(workspace::target()?.join("release/ntc-traffic"))
}

/// Compiles them; cargo knows whether there is anything to do.
pub fn traffic() -> Result<()> {
    workspace::run(workspace::cargo().args([
        "build",
        "--quiet",
        "--locked",
        "--release",
        "--package",
        "ntc-traffic",
    ]))
}

/// Puts a link to ONNX Runtime beside the binary, where `ntc` looks by itself.
fn library_beside(binary: &Path) -> Result<()> {
    let link = binary.with_file_name(LIBRARY);
    if !link.exists() {
        // A link that leads nowhere is replaced.
        let _ = fs::remove_file(&link);
        let library = workspace::tools().join("onnxruntime").join(LIBRARY);
        unix::fs::symlink(&library, &link)
            .with_context(|| format!("cannot link {} to {}", link.display(), library.display()))?;
    }
    Ok(())
}
