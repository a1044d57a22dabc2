//! Programs that cargo builds from source, into the work tree's own folder of tools.

use anyhow::Result;

use super::Piece;
use crate::workspace;

/// A program from the crate registry, in one version.
pub struct CargoTool {
    name: &'static str,
    version: &'static str,
    why: &'static str,
    arguments: &'static [&'static str],
    environment: &'static [(&'static str, &'static str)],
}

/// Debian has no package of it, and a build with another LLVM than rustc's cannot read rustc's bitcode.
pub const BPF_LINKER: CargoTool = CargoTool {
    name: "bpf-linker",
    version: "0.13.0",
    why: "links the BPF object and its BTF (built from source, about a minute)",
    arguments: &["--no-default-features", "--features", "llvm-22"],
    environment: &[("LLVM_PREFIX", "/usr/lib/llvm-22")],
};

/// Reads `deny.toml`.
pub const CARGO_DENY: CargoTool = CargoTool {
    name: "cargo-deny",
    version: "0.20.2",
    why: "checks licences and sources of all dependencies (built from source, some minutes)",
    arguments: &["--no-default-features"],
    environment: &[],
};

/// Reads `[package.metadata.deb]` of ntc-user/Cargo.toml.
pub const CARGO_DEB: CargoTool = CargoTool {
    name: "cargo-deb",
    version: "3.8.0",
    why: "makes the Debian package (built from source, some minutes)",
    arguments: &[],
    environment: &[],
};

/// Makes pages of the documents. Without its server and its search.
pub const MDBOOK: CargoTool = CargoTool {
    name: "mdbook",
    version: "0.5.4",
    why: "makes the documents' pages (built from source, some minutes)",
    arguments: &["--no-default-features"],
    environment: &[],
};

impl Piece for CargoTool {
    fn name(&self) -> String {
        format!("{} {}", self.name, self.version)
    }

    fn why(&self) -> String {
        self.why.to_owned()
    }

    fn is_there(&self) -> Result<bool> {
        let program = workspace::tools().join("bin").join(self.name);
        // A failure to start counts as missing: a library that it was linked with may have gone.
        let version = workspace::output(workspace::command(program).arg("--version")).unwrap_or_default();
        // Some put a v before the number.
        Ok(version.split_whitespace().nth(1).map(|number| number.trim_start_matches('v'))
            == Some(self.version))
    }

    fn install(&self) -> Result<()> {
        let mut cargo = workspace::cargo();
        cargo.args(["install", "--quiet", "--locked", self.name, "--version", self.version]);
        cargo.args(self.arguments).arg("--force").arg("--root").arg(workspace::tools());
        cargo.envs(self.environment.iter().copied());
        workspace::run(&mut cargo)
    }
}
