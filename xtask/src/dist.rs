//! `dist`: what an operator installs: a Debian package, the same as a tarball, and checksums.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use crate::{
    build::{self, Profile},
    setup::{self, Scope},
    workspace,
};

/// What to make.
#[derive(Args)]
pub struct Arguments {
    /// Folder for the packages; its content is replaced
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
}

/// The verb.
pub fn main(arguments: &Arguments) -> Result<()> {
    setup::ensure(&[Scope::Dist])?;
    let ntc = build::agent(Profile::Release)?;
    let target = workspace::target()?;
    let folder = arguments.output.clone().unwrap_or_else(|| target.join("dist"));
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    // Where ntc-user/Cargo.toml looks for them.
    let generated = target.join("generated");
    workspace::run(workspace::command(&ntc).arg("generate").arg("--output").arg(&generated))?;
    let package = debian(&folder)?;
    let tarball = tarball(&package)?;
    let sums = sums(&folder, &[&package, &tarball])?;
    for file in [package, tarball, sums] {
        println!("{}", file.display());
    }
    Ok(())
}

/// All times within the packages: the commit's, so that two builds of it are alike.
fn source_date() -> Result<String> {
    let mut git = workspace::command("git");
    let text = workspace::output(git.args(["log", "-1", "--format=%ct"]))?;
    Ok(text.trim().to_owned())
}

fn debian(folder: &Path) -> Result<PathBuf> {
    let mut cargo = workspace::command(workspace::tools().join("bin/cargo-deb"));
    cargo.args(["deb", "--package", "ntc-user", "--no-build", "--strip", "--quiet", "--output"]).arg(folder);
    workspace::run(cargo.env("SOURCE_DATE_EPOCH", source_date()?))?;
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
