//! Packages of the distribution (Debian and those made from it): libraries and tools only. None brings a daemon;
//! the servers of the demonstration are unpacked beside the sources instead, by `run`.

use std::{collections::BTreeSet, os::unix::fs::MetadataExt as _, process::Command};

use anyhow::{Context as _, Result, bail};

use super::{Piece, Scope};
use crate::workspace;

/// A package and what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Package {
    /// Its name in the distribution.
    pub name: &'static str,
    /// Shown when it is installed.
    pub why: &'static str,
    /// A program that will do wherever it is from: makers of Node.js bring npm in one package, which conflicts with
    /// Debian's two.
    pub program: Option<&'static str>,
}

const fn package(name: &'static str, why: &'static str) -> Package {
    Package { name, why, program: None }
}

/// rustc 1.95 has LLVM 22; the linker of its bitcode must have the same.
const BUILD: &[Package] = &[
    package("llvm-22-dev", "bpf-linker links the BPF object with the LLVM version that rustc has"),
    package("g++", "crates with C or C++ parts"),
    package("libzstd-dev", "a library that LLVM links"),
    package("zlib1g-dev", "a library that LLVM links"),
];

const ONNX_RUNTIME: &[Package] = &[package("python3-venv", "pip fetches ONNX Runtime's library")];

/// Hosts in network namespaces, in the demonstration and in the tests.
const NETWORK: &[Package] = &[
    package("bpftool", "shows the pinned maps"),
    package("curl", "asks the agent over HTTP"),
    package("ethtool", "switches offloads of the test interfaces"),
    package("iproute2", "makes the hosts: namespaces, interfaces, qdiscs"),
    package("nftables", "loads the rulesets of the tests"),
    package("openssl", "makes the certificate of a test"),
    package("tcpdump", "captures what the agent saw, to classify it again"),
];

/// What the tests need besides.
const TESTS: &[Package] = &[
    package("clang", "compiles the example of a tc program"),
    package("libbpf-dev", "headers of that example"),
];

/// Debian 12's version 18 will do.
const NODE: &[Package] = &[
    Package {
        program: Some("node"),
        ..package("nodejs", "runs programs of Node.js: Playwright, which drives the browser")
    },
    Package { program: Some("npm"), ..package("npm", "fetches their packages") },
];

/// What drives the agent's page and takes pictures of it and of `ntc top`.
const PAGE: &[Package] = &[
    package("chromium", "opens the agent's page"),
    package("tmux", "is the terminal of which pictures are taken"),
];

/// What runs Debian's kernel; the kernel itself is unpacked, not installed.
const GUEST: &[Package] = &[
    package("qemu-system-x86", "the machine that Debian's kernel runs in"),
    package("kmod", "finds which kernel modules need which"),
];

/// Where the packages are tried.
const TRIAL: &[Package] = &[package("debootstrap", "makes the Debian in which the packages are tried")];

/// Packages for arm64, built and run here.
const ARM64: &[Package] = &[
    package("gcc-aarch64-linux-gnu", "links for arm64, and compiles crates with C parts"),
    package("libc6-dev-arm64-cross", "its C library"),
    package("libstdc++6-arm64-cross", "a library that ONNX Runtime links"),
    package("qemu-user-static", "runs what was built"),
];

/// The small build.
const SMALL: &[Package] = &[package("musl-tools", "compiles crates with C parts for a static binary")];

const LABELLING: &[Package] = &[package("python3-venv", "pip fetches nfstream, which has nDPI in it")];

const TRAINING: &[Package] = &[
    package("python3-venv", "the training package's environment"),
    package("python3-numpy", "arrays, in the version that its PyTorch was built with"),
    package("python3-torch", "trains the models (650 MB with what it needs)"),
    package("libopenblas0-pthread", "the fast linear algebra under it"),
];

/// What a set of scopes needs, as one piece: one transaction of apt is quicker than one a package.
pub struct Packages(Vec<Package>);

impl Packages {
    /// The packages of the scopes, each once.
    pub fn of(scopes: &BTreeSet<Scope>) -> Self {
        let mut packages: Vec<Package> = Vec::new();
        for scope in scopes {
            match scope {
                Scope::Build => packages.extend(BUILD),
                Scope::Run | Scope::Test => {
                    packages.extend(ONNX_RUNTIME);
                    packages.extend(NETWORK);
                    if *scope == Scope::Test {
                        packages.extend(TESTS);
                    }
                }
                Scope::Page => {
                    packages.extend(NODE);
                    packages.extend(PAGE);
                }
                Scope::Guest => packages.extend(GUEST),
                Scope::Train => packages.extend(TRAINING),
                Scope::Label => packages.extend(LABELLING),
                Scope::Dist => packages.extend(ONNX_RUNTIME),
                Scope::Trial => packages.extend(TRIAL),
                Scope::Arm64 => packages.extend(ARM64),
                Scope::Small => packages.extend(SMALL),
                Scope::Generate => packages.extend(NODE),
                Scope::Lint | Scope::Docs => {}
            }
        }
        let mut seen = BTreeSet::new();
        packages.retain(|package| seen.insert(package.name));
        Self(packages)
    }

    fn missing(&self) -> Result<Vec<Package>> {
        if self.0.is_empty() {
            return Ok(Vec::new());
        }
        // Exits with 1 if it does not know one of them; what it prints is right all the same.
        let output = Command::new("dpkg-query")
            .args(["--show", "--showformat", "${Package} ${db:Status-Status}\n"])
            .args(self.0.iter().map(|package| package.name))
            .output()
            .context("could not start dpkg-query")?;
        let installed = installed(&String::from_utf8_lossy(&output.stdout));
        let there = |package: &Package| {
            installed.contains(package.name) || package.program.is_some_and(workspace::in_path)
        };
        Ok(self.0.iter().copied().filter(|package| !there(package)).collect())
    }
}

/// The packages that dpkg-query reports as fully installed: not those removed with their settings kept.
fn installed(listing: &str) -> BTreeSet<String> {
    listing.lines().filter_map(|line| line.strip_suffix(" installed")).map(str::to_owned).collect()
}

impl Piece for Packages {
    fn name(&self) -> String {
        "system packages".to_owned()
    }

    fn why(&self) -> String {
        let missing = self.missing().unwrap_or_default();
        let lines = missing.iter().map(|package| format!("\n  {:24}{}", package.name, package.why));
        lines.collect()
    }

    fn is_there(&self) -> Result<bool> {
        if !workspace::in_path("dpkg-query") {
            let names: Vec<_> = self.0.iter().map(|package| package.name).collect();
            eprintln!(
                "setup: only apt is known; this system needs by hand what Debian calls {}",
                names.join(" ")
            );
            return Ok(true);
        }
        Ok(self.missing()?.is_empty())
    }

    fn install(&self) -> Result<()> {
        let missing = self.missing()?;
        // A source that cannot be reached need not be the one that has the packages: the installation tells.
        if let Err(error) = workspace::run(apt_get()?.arg("update")) {
            eprintln!("setup: {error}; going on with what it got");
        }
        let mut install = apt_get()?;
        install.args(["--yes", "--no-install-recommends", "install"]);
        workspace::run(install.args(missing.iter().map(|package| package.name)))
    }
}

/// apt-get with the rights to install, asking nothing. `env`, since sudo does not hand on the environment.
fn apt_get() -> Result<Command> {
    let mut command = if is_root()? {
        workspace::command("env")
    } else if workspace::in_path("sudo") {
        let mut sudo = workspace::command("sudo");
        sudo.arg("env");
        sudo
    } else {
        bail!("installing packages needs root, and there is no sudo: run `cargo xtask setup` as root once");
    };
    // Where the system updates itself just now, its end is waited for.
    command.args([
        "DEBIAN_FRONTEND=noninteractive",
        "apt-get",
        "--quiet",
        "--option",
        "DPkg::Lock::Timeout=300",
    ]);
    Ok(command)
}

/// Whether this process runs as root: the owner of its own entry in /proc is its effective user.
fn is_root() -> Result<bool> {
    Ok(std::fs::metadata("/proc/self").context("cannot read /proc/self")?.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_that_left_its_settings_behind_is_not_installed() {
        let installed = installed("g++ installed\ntcpdump config-files\n");
        assert_eq!(installed, BTreeSet::from(["g++".to_owned()]));
    }

    #[test]
    fn a_package_of_two_scopes_is_listed_once() {
        let packages = Packages::of(&BTreeSet::from([Scope::Run, Scope::Test, Scope::Train]));
        let names: Vec<_> = packages.0.iter().map(|package| package.name).collect();
        assert_eq!(names.len(), names.iter().collect::<BTreeSet<_>>().len());
    }
}
