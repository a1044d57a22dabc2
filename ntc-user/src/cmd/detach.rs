//! `ntc detach`: leaves nothing behind.

use std::process::ExitCode;

use anyhow::Context as _;

use crate::{
    cli::DetachArgs,
    kernel::pins::{self, PinDirectory},
};

/// Runs the verb.
///
/// # Errors
/// An agent is still running, or a pin cannot be removed.
pub fn run(args: &DetachArgs) -> anyhow::Result<ExitCode> {
    let path = &args.pins.pin_dir;
    let others = pins::other_versions(path);
    for other in &others {
        pins::remove_other_version(other)?;
        eprintln!("ntc: removed {}, of another version", other.display());
    }
    if path.exists() {
        let mut pins = PinDirectory::claim(path)?;
        // With its last pin a link goes, and the program with it.
        pins.remove().with_context(|| format!("cannot remove the pins in {}", path.display()))?;
        eprintln!("ntc: removed {}", path.display());
    } else if others.is_empty() {
        eprintln!("ntc: nothing is pinned in {}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}
