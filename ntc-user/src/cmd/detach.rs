//! `ntc detach`: leaves nothing behind.

use std::{path::Path, process::ExitCode};

use anyhow::{Context as _, bail};

use crate::{
    api::listen,
    cli::DetachArgs,
    kernel::{
        attach::hooks,
        leftovers::Leftovers,
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
    let leftovers = Leftovers::of(path);
    release(path)?;
    // With its last pin a link goes, and the program with it.
    pins.remove().with_context(|| format!("cannot remove the pins in {}", path.display()))?;
    eprintln!("ntc: removed {}", path.display());
    let left = leftovers.programs();
    if left.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    bail!(
        "{} still on a clsact qdisc in another network namespace: run `ntc detach` there as well (`ip netns exec NAME \
         ntc detach --pin-dir {}`); without an agent no packet is changed meanwhile",
        left.join(" and "),
        path.display()
    )
}

fn release(path: &Path) -> anyhow::Result<ExitCode> {
    match hooks::release(path)? {
        0 => {}
        1 => eprintln!("ntc: removed a filter from a clsact qdisc"),
        filters => eprintln!("ntc: removed {filters} filters from clsact qdiscs"),
    }
    Ok(ExitCode::SUCCESS)
}
