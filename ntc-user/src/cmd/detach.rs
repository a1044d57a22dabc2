//! `ntc detach`: leaves nothing behind.

use std::{path::Path, process::ExitCode};

use anyhow::Context as _;

use crate::{
    api::listen,
    cli::DetachArgs,
    kernel::{
        attach::hooks,
        pins::{self, PinDirectory},
    },
};

/// Runs the verb.
///
/// # Errors
/// An agent is still running, or a pin cannot be removed.
pub fn run(args: &DetachArgs) -> anyhow::Result<ExitCode> {
    let path = &args.pins.pin_dir;
    if listen::remove_left(path) {
        eprintln!("ntc: removed the socket {}", listen::socket_of(path).display());
    }
    let others = pins::other_versions(path);
    for other in &others {
        pins::remove_other_version(other)?;
        // Of its agent, if that was killed.
        listen::remove_left(other);
        eprintln!("ntc: removed {}, of another version", other.display());
    }
    if !path.exists() {
        if others.is_empty() {
            eprintln!("ntc: nothing is pinned in {}", path.display());
        }
        // Filters on a clsact qdisc hang on no pin.
        return release(path);
    }
    let mut pins = PinDirectory::claim(path)?;
    release(path)?;
    // With its last pin a link goes, and the program with it.
    pins.remove().with_context(|| format!("cannot remove the pins in {}", path.display()))?;
    eprintln!("ntc: removed {}", path.display());
    Ok(ExitCode::SUCCESS)
}

fn release(path: &Path) -> anyhow::Result<ExitCode> {
    match hooks::release(path)? {
        0 => {}
        1 => eprintln!("ntc: removed a filter from a clsact qdisc"),
        filters => eprintln!("ntc: removed {filters} filters from clsact qdiscs"),
    }
    Ok(ExitCode::SUCCESS)
}
