//! The package in a fresh Debian: what an operator does with it, under systemd and Debian's kernel.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result};

use crate::{
    guest::{self, Console, Job, Root},
    test, workspace,
};

/// What is done, step by step.
const STEPS: &str = include_str!("trial.sh");
/// Who sends what is labelled.
const TRAFFIC: &str = include_str!("traffic.pl");
/// The guest is ended after so many seconds. Where it has two processors for itself it takes a fraction of that.
const LIMIT_S: u32 = 3000;
/// What the next version's number ends with, as a Debian revision of this one.
const NEXT: &str = "+next";

/// Runs all steps.
pub fn run(package: &Path) -> Result<ExitCode> {
    let mut job = Job::of(Root::Debian, Console::Output)?;
    fs::copy(package, job.folder().join("ntc.deb"))?;
    next(package, &job.folder().join("ntc-next.deb"))?;
    for (name, text) in [("trial.sh", STEPS), ("traffic.pl", TRAFFIC)] {
        fs::write(job.folder().join(name), text)?;
    }
    job.command(&["bash".to_owned(), "/run/job/trial.sh".to_owned()]);
    test::trial(&mut guest::command(&job, LIMIT_S)?, || job.status())
}

/// The same package under a higher version: what an upgrade does to a running agent does not hang on what is new.
fn next(package: &Path, to: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let root: PathBuf = folder.path().join("root");
    workspace::output(Command::new("dpkg-deb").arg("--raw-extract").arg(package).arg(&root))?;
    let control = root.join("DEBIAN/control");
    let text = fs::read_to_string(&control)?;
    let version = text.lines().find(|line| line.starts_with("Version: ")).context("no version")?.to_owned();
    fs::write(&control, text.replace(&version, &format!("{version}{NEXT}")))?;
    workspace::output(Command::new("dpkg-deb").args(["-Zgzip", "-z1", "--build"]).arg(&root).arg(to))?;
    Ok(())
}
