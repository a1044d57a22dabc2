//! BPF objects that are for measuring and testing, built on demand: the one that ships is built with the agent.

use std::{env::consts::ARCH, path::PathBuf};

use anyhow::Result;

use crate::{lint, workspace};

const TARGET: &str = "bpfel-unknown-none";

/// Compiles a binary of `ntc-ebpf` that a feature of the same name switches on, and returns the object.
pub(crate) fn object(name: &str) -> Result<PathBuf> {
    let target = workspace::target()?.join("bpf");
    let mut cargo = workspace::cargo();
    cargo.args(["build", "--release", "--quiet", "--package", "ntc-ebpf", "--bin", name, "--features", name]);
    cargo.args(["-Z", "build-std=core", "--target", TARGET, "--target-dir"]).arg(&target);
    // As for clippy: one compiler for both halves. This build's own flags are for the host.
    cargo.env("RUSTC_BOOTSTRAP", "1").env("CARGO_ENCODED_RUSTFLAGS", lint::flags::flags(ARCH).join("\u{1f}"));
    workspace::run(&mut cargo)?;
    Ok(target.join(TARGET).join("release").join(name))
}
