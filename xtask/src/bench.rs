//! `bench`: builds the agent and what measures it, and starts the latter, whose options these are.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use crate::{
    build::{self, Profile},
    guest::{self, Console, Job},
    setup::{self, Scope},
    workspace,
};

/// The guest is ended after so many seconds.
const GUEST_LIMIT_S: u32 = 1800;

/// What to measure.
#[derive(Args)]
#[command(disable_help_flag = true)]
pub struct Arguments {
    /// What to measure, and how; `cargo xtask bench --help` tells
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    to_benchmark: Vec<String>,
}

/// The verb.
pub fn main(arguments: &Arguments) -> Result<()> {
    setup::ensure(&[Scope::Run])?;
    let ntc = build::agent(Profile::Release)?;
    workspace::run(workspace::cargo().args(["build", "--release", "--package", "ntc-bench"]))?;
    let program = ntc.with_file_name("ntc-bench");
    workspace::run(workspace::command(&program).args(&arguments.to_benchmark))?;
    if measures_queues(&arguments.to_benchmark) {
        qos_in_guest(&program, &out(&arguments.to_benchmark))?;
    }
    Ok(())
}

/// Whether queues are to be measured, and not only told of.
fn measures_queues(arguments: &[String]) -> bool {
    let asks_for_help = |word: &String| word == "--help" || word == "-h";
    arguments.first().is_some_and(|what| what == "qos") && !arguments.iter().any(asks_for_help)
}

/// The same under Debian's kernel, which has CAKE and fq_codel: an emulated processor carries less.
fn qos_in_guest(program: &Path, out: &Path) -> Result<()> {
    if let Err(error) = guest::ready() {
        eprintln!("bench: CAKE and fq_codel are left out: {error:#}");
        return Ok(());
    }
    let program = program.canonicalize()?;
    let program = program.to_str().context("a path that is no text")?;
    let mut job = Job::new(Console::Output)?;
    let words = [program, "qos", "--rate", "2mbit", "--seconds", "12", "--out", "/run/job/qos"];
    job.command(&words.map(str::to_owned));
    workspace::run(&mut guest::command(&job, GUEST_LIMIT_S)?)?;
    let status = job.status()?;
    ensure!(status == 0, "the benchmark failed in the guest: {status}");
    fs::create_dir_all(out)?;
    for entry in fs::read_dir(job.folder().join("qos"))? {
        let from = entry?.path();
        let name = from.file_name().context("a name")?;
        fs::copy(&from, out.join(name)).with_context(|| from.display().to_string())?;
    }
    println!("CAKE and fq_codel: written to {}", out.display());
    Ok(())
}

/// Folder that the benchmark writes to, as its own options say.
fn out(arguments: &[String]) -> PathBuf {
    let after = |word: &String| word.strip_prefix("--out=").map(PathBuf::from);
    let place = arguments.iter().position(|word| word == "--out");
    let given = place.and_then(|place| arguments.get(place + 1)).map(PathBuf::from);
    given.or_else(|| arguments.iter().find_map(after)).unwrap_or_else(|| "target/qos".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_measures_nothing() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert!(measures_queues(&words("qos --out docs/qos")));
        assert!(!measures_queues(&words("qos --help")));
        assert!(!measures_queues(&words("live")));
    }
}
