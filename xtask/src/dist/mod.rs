//! `dist`: what an operator installs: a Debian package, the same as a tarball, what is in them, and checksums.

mod again;
mod arm64;
mod origin;
mod shipped;
mod trial;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use clap::{Args, ValueEnum};

use crate::{
    build::{self, Profile},
    setup::{self, OnnxRuntime, Scope},
    workspace,
};

/// What the packages are for, by Debian's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Architecture {
    Amd64,
    Arm64,
}

impl Architecture {
    /// By Rust's name.
    const fn target(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-gnu",
            Self::Arm64 => "aarch64-unknown-linux-gnu",
        }
    }

    const fn runtime(self) -> OnnxRuntime {
        match self {
            Self::Amd64 => OnnxRuntime::HERE,
            Self::Arm64 => OnnxRuntime::ARM64,
        }
    }
}

/// What to make.
#[derive(Args)]
pub struct Arguments {
    /// Folder for the packages; its content is replaced
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// What the packages are for; arm64 is built by a cross-compiler
    #[arg(long, value_enum, default_value = "amd64")]
    arch: Architecture,
    /// Try the package: amd64 in a fresh Debian 12 under its own kernel and systemd (install, run, upgrade, crash, purge),
    /// arm64 on captures, its processor emulated
    #[arg(long = "try")]
    trial: bool,
    /// Build the commit once more in another folder, and compare
    #[arg(long, conflicts_with = "arch")]
    twice: bool,
}

/// The verb.
pub fn main(arguments: &Arguments) -> Result<ExitCode> {
    let arch = arguments.arch;
    setup::ensure(&[match (arch, arguments.trial) {
        (Architecture::Arm64, _) => Scope::Arm64,
        (Architecture::Amd64, true) => Scope::Trial,
        (Architecture::Amd64, false) => Scope::Dist,
    }])?;
    // Also for another architecture: it writes man pages and completions.
    let ntc = build::agent(Profile::Release)?;
    if arch == Architecture::Arm64 {
        arm64::agent()?;
    }
    let target = workspace::target()?;
    let folder = arguments.output.clone().unwrap_or_else(|| target.join("dist"));
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    // Where ntc-user/Cargo.toml looks for them.
    let generated = target.join("generated");
    workspace::run(workspace::command(&ntc).arg("generate").arg("--output").arg(&generated))?;
    let runtime = arch.runtime().folder();
    beside_generated(&runtime, &generated.join("onnxruntime"))?;
    let crates = shipped::crates(arch.target())?;
    origin::licences(&generated.join("LICENCES"), &crates)?;
    let time = source_date()?;
    let package = debian(&folder, arch, &time)?;
    let materials = package.with_extension("cdx.json");
    origin::materials(&materials, &runtime, &crates, &time)?;
    let tarball = tarball(&package)?;
    let sums = sums(&folder, &[&package, &tarball, &materials])?;
    for file in [&package, &tarball, &materials, &sums] {
        println!("{}", file.display());
    }
    if arguments.twice {
        again::compare(&folder)?;
    }
    match arch {
        _ if !arguments.trial => Ok(ExitCode::SUCCESS),
        Architecture::Amd64 => trial::run(&package),
        Architecture::Arm64 => arm64::classify(&package, &ntc).map(|()| ExitCode::SUCCESS),
    }
}

/// All times within the packages: the commit's, so that two builds of it are alike.
fn source_date() -> Result<String> {
    let mut git = workspace::command("git");
    let text = workspace::output(git.args(["log", "-1", "--format=%ct"]))?;
    Ok(text.trim().to_owned())
}

/// Puts ONNX Runtime of the architecture where ntc-user/Cargo.toml looks for it.
fn beside_generated(runtime: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for name in ["libonnxruntime.so", "LICENSE", "ThirdPartyNotices.txt"] {
        fs::copy(runtime.join(name), to.join(name))
            .with_context(|| format!("no {name} in {}", runtime.display()))?;
    }
    Ok(())
}

fn debian(folder: &Path, arch: Architecture, time: &str) -> Result<PathBuf> {
    let mut cargo = workspace::command(workspace::tools().join("bin/cargo-deb"));
    cargo.args(["deb", "--package", "ntc-user", "--no-build", "--strip", "--quiet", "--output"]).arg(folder);
    if arch == Architecture::Arm64 {
        cargo.args(["--target", arch.target()]);
    }
    workspace::run(cargo.env("SOURCE_DATE_EPOCH", time))?;
    let mut packages = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            packages.push(path);
        }
    }
    ensure!(packages.len() == 1, "cargo-deb made {} packages", packages.len());
    packages.pop().context("a package")
}

/// The package's files as they lie on the system, for distributions without dpkg.
fn tarball(package: &Path) -> Result<PathBuf> {
    let path = package.with_extension("tar.gz");
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut contents =
        Command::new("dpkg-deb").arg("--fsys-tarfile").arg(package).stdout(Stdio::piped()).spawn()?;
    let stdin = contents.stdout.take().context("dpkg-deb's output")?;
    // -n: neither name nor time of the input, which would differ from build to build.
    let status = Command::new("gzip").args(["-9", "-n"]).stdin(stdin).stdout(file).status()?;
    ensure!(contents.wait()?.success() && status.success(), "cannot pack {}", path.display());
    Ok(path)
}

fn sums(folder: &Path, files: &[&Path]) -> Result<PathBuf> {
    let mut command = Command::new("sha256sum");
    command.current_dir(folder).args(files.iter().filter_map(|file| file.file_name()));
    let path = folder.join("SHA256SUMS");
    fs::write(&path, workspace::output(&mut command)?)?;
    Ok(path)
}
