//! `audit`: what the package registries say against the versions that are in use, and what they do not say.

mod index;

use std::{fs, process::ExitCode};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::{
    setup::{self, Scope},
    workspace,
};

/// Asks the Python package index: prints a line for each finding, then a summary.
const PYTHON: &str = include_str!("python.py");

#[derive(Deserialize)]
struct Lock {
    package: Vec<Package>,
}

/// A package of Cargo.lock.
#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    version: String,
    source: Option<String>,
}

/// The verb. Fails if there is a finding.
pub fn main() -> Result<ExitCode> {
    setup::ensure(&[Scope::Run])?;
    let findings = crates()? + python()?;
    println!(
        "not asked: advisories about crates (`cargo-deny check advisories` has a database of them, by network), packages \
         of Debian and of npm (`npm audit` in tests/page and models/traffic), and C libraries inside crates and wheels"
    );
    println!("{findings} findings");
    Ok(ExitCode::from(u8::from(findings > 0)))
}

/// Crates that were withdrawn.
fn crates() -> Result<usize> {
    let lock: Lock = toml::from_str(&fs::read_to_string(workspace::root().join("Cargo.lock"))?)?;
    // Resolves all anew, for which cargo asks the registry about each crate; nothing is changed.
    workspace::output(workspace::cargo().args(["update", "--dry-run"]))?;
    let (mut yanked, mut unknown, mut asked) = (0, 0, 0);
    for package in lock.package.iter().filter(|package| package.source.is_some()) {
        let Package { name, version, .. } = package;
        asked += 1;
        match index::yanked(name, version)? {
            Some(true) => {
                println!("crate {name} {version}: yanked");
                yanked += 1;
            }
            Some(false) => {}
            None => {
                println!("crate {name} {version}: the registry's answer is not to be found");
                unknown += 1;
            }
        }
    }
    println!("{asked} crates in Cargo.lock: {yanked} yanked, {unknown} unknown");
    Ok(yanked + unknown)
}

/// Python packages that were withdrawn, or that have a known weakness.
fn python() -> Result<usize> {
    let mut python = workspace::command(workspace::tools().join("venv/bin/python"));
    python.args(["-c", PYTHON]).args(setup::requirements());
    let said = workspace::output(&mut python)?;
    let (findings, summary) = said.trim_end().rsplit_once('\n').unwrap_or(("", said.trim_end()));
    println!("{}", said.trim_end());
    summary.chars().next().filter(char::is_ascii_digit).context("no summary of the Python packages")?;
    Ok(findings.lines().count())
}
