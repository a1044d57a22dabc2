//! Programs that take what ntc exports, unpacked beside the sources by `cargo xtask setup test`.

use std::{path::PathBuf, process::Command};

use crate::{net::Namespace, root};

fn folder() -> PathBuf {
    root().join(".tools/collectors")
}

/// Whether they are here; else says that the test is skipped.
///
/// # Errors
/// It cannot be said.
pub fn at_hand(test: &str) -> std::io::Result<bool> {
    let there = folder().join("packages").exists();
    if !there {
        crate::skip(test, "no collectors beside the sources: `cargo xtask setup test` unpacks them")?;
    }
    Ok(there)
}

/// One of them, to be run in a namespace.
pub fn inside(namespace: &Namespace, program: &str) -> Command {
    let mut command = namespace.prepare("env");
    command.arg(libraries()).arg(path(program));
    command
}

/// One of them, to be run here.
pub fn here(program: &str) -> Command {
    let mut command = Command::new("env");
    command.arg(libraries()).arg(path(program));
    command
}

fn path(program: &str) -> PathBuf {
    let [bin, sbin] = ["usr/bin", "usr/sbin"].map(|place| folder().join(place).join(program));
    if bin.exists() { bin } else { sbin }
}

/// Their own libraries, for them alone.
fn libraries() -> String {
    let architecture = std::env::consts::ARCH;
    format!("LD_LIBRARY_PATH={}", folder().join(format!("usr/lib/{architecture}-linux-gnu")).display())
}
