//! `lint`: style and dependencies. `test` runs the first three too.

#[path = "../../ntc-ebpf/flags.rs"]
pub(crate) mod flags;

use std::{env::consts::ARCH, process::Command};

use anyhow::Result;

use crate::{
    setup::{self, Scope},
    workspace,
};

/// The verb.
pub fn main() -> Result<()> {
    setup::ensure(&[Scope::Lint])?;
    workspace::run(&mut format())?;
    workspace::run(&mut clippy_host())?;
    workspace::run(&mut clippy_bpf()?)?;
    workspace::run(&mut deny())
}

/// Whether every file is as rustfmt would write it.
pub fn format() -> Command {
    let mut cargo = workspace::cargo();
    cargo.args(["fmt", "--all", "--check"]);
    cargo
}

/// All that is compiled for this machine.
pub fn clippy_host() -> Command {
    let mut cargo = workspace::cargo();
    cargo.args(["clippy", "--workspace", "--exclude", "ntc-ebpf", "--all-targets", "--", "--deny=warnings"]);
    cargo
}

/// The kernel half, on its own: in one run with the host crates it would get the features that those ask of
/// `ntc-common`, and std with them.
pub fn clippy_bpf() -> Result<Command> {
    let mut cargo = workspace::cargo();
    cargo.args([
        "clippy",
        "--package",
        "ntc-ebpf",
        "--features",
        "bench,flood",
        "--target",
        "bpfel-unknown-none",
        "-Z",
        "build-std=core",
    ]);
    // A folder of its own: build scripts that look at RUSTC_BOOTSTRAP would make the two runs undo each other's work.
    cargo.arg("--target-dir").arg(workspace::target()?.join("clippy-bpf"));
    cargo.args(["--", "--deny=warnings"]);
    // Unstable flags on the stable compiler, so that there is one compiler and one LLVM for both halves.
    cargo.env("RUSTC_BOOTSTRAP", "1");
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags::flags(ARCH).join("\u{1f}"));
    Ok(cargo)
}

/// Licences, forbidden crates, sources. Advisories are left out: they need a database from the network,
/// and a check whose result changes by itself is no check of a change.
fn deny() -> Command {
    let mut cargo_deny = workspace::command(workspace::tools().join("bin/cargo-deny"));
    cargo_deny.args(["--all-features", "--workspace", "check", "licenses", "bans", "sources"]);
    cargo_deny
}
