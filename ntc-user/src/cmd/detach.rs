//! `ntc detach`: leaves nothing behind.

use std::process::ExitCode;

use anyhow::Context as _;

use crate::{cli::DetachArgs, kernel::pins::PinDirectory};

/// Runs the verb.
///
/// # Errors
/// An agent is still running, or a pin cannot be removed.
pub fn run(args: &DetachArgs) -> anyhow::Result<ExitCode> {
    let path = &args.pins.pin_dir;
    if !path.exists() {
        eprintln!("ntc: nothing is pinned in {}", path.display());
        return Ok(ExitCode::SUCCESS);
    }
    let mut pins = PinDirectory::claim(path)?;
    // With its last pin a link goes, and the program with it.
    pins.remove().with_context(|| format!("cannot remove the pins in {}", path.display()))?;
    eprintln!("ntc: removed {}", path.display());
    Ok(ExitCode::SUCCESS)
}
