//! Parts of the pinned Rust tool chain beyond the compiler.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};

use super::Piece;
use crate::workspace;

/// rust-src, clippy and rustfmt. rustup would add them by itself from `rust-toolchain.toml`, but not where
/// its automatic installation is switched off.
pub struct RustComponents;

impl Piece for RustComponents {
    fn name(&self) -> String {
        "Rust components rust-src, clippy, rustfmt".to_owned()
    }

    fn why(&self) -> String {
        "core is compiled from source for the BPF target; the tests check style".to_owned()
    }

    fn is_there(&self) -> Result<bool> {
        let sysroot = workspace::output(workspace::command("rustc").args(["--print", "sysroot"]))?;
        let sysroot = PathBuf::from(sysroot.trim());
        let parts = ["lib/rustlib/src/rust/library/core", "bin/cargo-clippy", "bin/rustfmt"];
        Ok(parts.iter().all(|part| sysroot.join(part).exists()))
    }

    fn install(&self) -> Result<()> {
        let by_hand = "install rust-src, clippy and rustfmt for exactly this compiler by hand: \
                       `rustup component add rust-src clippy rustfmt` where the network allows it, or the \
                       distribution's packages if its compiler is the one in use";
        ensure!(workspace::in_path("rustup"), "there is no rustup here; {by_hand}");
        let mut rustup = workspace::command("rustup");
        rustup.args(["component", "add", "rust-src", "clippy", "rustfmt"]);
        workspace::run(&mut rustup).with_context(|| format!("rustup could not; {by_hand}"))
    }
}

/// Rust's standard library for another target, as rustup brings it.
pub struct Standard {
    /// Rust's name of the target.
    pub target: String,
}

impl Piece for Standard {
    fn name(&self) -> String {
        format!("Rust's standard library for {}", self.target)
    }

    fn why(&self) -> String {
        "packages are built for it".to_owned()
    }

    fn is_there(&self) -> Result<bool> {
        let sysroot = workspace::output(workspace::command("rustc").args(["--print", "sysroot"]))?;
        Ok(PathBuf::from(sysroot.trim()).join("lib/rustlib").join(&self.target).join("lib").is_dir())
    }

    fn install(&self) -> Result<()> {
        workspace::run(workspace::command("rustup").args(["target", "add", &self.target]))
    }
}
