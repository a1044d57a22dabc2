//! `fuzz`: hostile input made by libFuzzer, led by the code that it reaches. What it finds stays as a regression.

mod engine;

use std::{
    env::consts::ARCH,
    fs,
    path::PathBuf,
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, ensure};
use clap::{Args, ValueEnum};

use crate::{
    setup::{self, Scope},
    workspace,
};
use engine::Outcome;

/// What to fuzz.
#[derive(Args)]
pub struct Arguments {
    /// Which targets; all if none is named
    #[arg(value_enum)]
    targets: Vec<Target>,
    /// Inputs to try in each target
    #[arg(long, value_name = "N", default_value_t = 10_000_000)]
    executions: u64,
    /// Processes that work on a target at the same time and share its corpus
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=64))]
    jobs: u64,
    /// Run one input only, as of a finding
    #[arg(long, value_name = "FILE", conflicts_with_all = ["executions", "jobs"])]
    reproduce: Option<PathBuf>,
    /// Look for misuse of memory, too: half as fast, and a compilation of its own
    #[arg(long)]
    address_sanitizer: bool,
}

/// The targets of the crate `fuzz/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Target {
    /// A frame of any link type
    Parser,
    /// A capture file, to its flows
    Capture,
    /// Records of the kernel's ring
    Records,
    /// Policies, manifests of bundles, catalogues
    Policy,
    /// What the agent's API is asked
    Query,
    /// Packets of a flow against a model of the flow rule
    FlowRule,
}

impl Target {
    const fn name(self) -> &'static str {
        match self {
            Self::Parser => "parser",
            Self::Capture => "capture",
            Self::Records => "records",
            Self::Policy => "policy",
            Self::Query => "query",
            Self::FlowRule => "flow_rule",
        }
    }

    /// The longest input in bytes: short ones are quick, and all that the formats have fits.
    const fn max_len(self) -> usize {
        match self {
            Self::Parser => 256,
            Self::FlowRule => 512,
            Self::Capture | Self::Records => 1024,
            Self::Policy | Self::Query => 2048,
        }
    }
}

/// The verb.
pub fn main(arguments: &Arguments) -> Result<ExitCode> {
    setup::ensure(&[Scope::Build])?;
    let targets = if arguments.targets.is_empty() { Target::value_variants() } else { &arguments.targets };
    let folder = build(targets, arguments.address_sanitizer)?;
    if let Some(input) = &arguments.reproduce {
        ensure!(targets.len() == 1, "--reproduce needs the one target that the input is for");
        let input = std::path::absolute(input)?;
        let status = Command::new(folder.join(targets[0].name())).arg(input).status()?;
        return Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let mut outcomes = Vec::new();
    for &target in targets {
        let run = engine::Run {
            program: folder.join(target.name()),
            target: target.name(),
            max_len: target.max_len(),
            executions: arguments.executions,
            jobs: arguments.jobs,
        };
        outcomes.push((target, run.run()?));
    }
    Ok(report(&outcomes))
}

/// Compiles the targets with counters on every edge, dependencies included, and returns the folder of the programs.
///
/// With the pinned compiler and without cargo-fuzz, which wants a nightly one: the instrumentation is LLVM's.
fn build(targets: &[Target], address_sanitizer: bool) -> Result<PathBuf> {
    let mut flags = vec!["-Cpasses=sancov-module"];
    flags.extend([
        "-Cllvm-args=-sanitizer-coverage-level=4",
        "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
        "-Cllvm-args=-sanitizer-coverage-pc-table",
        "-Cllvm-args=-sanitizer-coverage-trace-compares",
    ]);
    let mut cargo = workspace::cargo();
    if address_sanitizer {
        flags.push("-Zsanitizer=address");
        cargo.env("RUSTC_BOOTSTRAP", "1");
    }
    let triple = format!("{ARCH}-unknown-linux-gnu");
    let target_dir =
        workspace::target()?.join(if address_sanitizer { "fuzz-address-sanitizer" } else { "fuzz" });
    // With --target the flags stay off build scripts and macros, which run before there is a fuzzer.
    cargo.args(["build", "--profile", "fuzz", "--package", "ntc-fuzz", "--features", "libfuzzer"]);
    cargo.args(["--target", &triple, "--target-dir"]).arg(&target_dir);
    cargo.args(targets.iter().flat_map(|target| ["--bin", target.name()]));
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    workspace::run(&mut cargo)?;
    Ok(target_dir.join(triple).join("fuzz"))
}

/// The table, and what to do about findings.
fn report(outcomes: &[(Target, Outcome)]) -> ExitCode {
    println!(
        "\n{:10} {:>12} {:>9} {:>12} {:>7} {:>7} {:>8}  findings",
        "target", "executions", "time", "executions/s", "edges", "inputs", "peak RSS"
    );
    for (target, outcome) in outcomes {
        println!(
            "{:10} {:>12} {:>7.0} s {:>12.0} {:>7} {:>7} {:>5} MB  {}",
            target.name(),
            outcome.executions,
            outcome.took.as_secs_f64(),
            outcome.executions as f64 / outcome.took.as_secs_f64().max(0.001),
            outcome.edges,
            outcome.inputs,
            outcome.peak_rss_mb,
            outcome.findings.len()
        );
    }
    let mut failed = false;
    for (target, outcome) in outcomes {
        failed |= !outcome.findings.is_empty() || outcome.failed;
        for finding in &outcome.findings {
            println!(
                "\nfinding: {}\n  run it:        cargo xtask fuzz {} --reproduce {}\n  with its kin:  cargo test \
                 --release -p ntc-tests --test regressions\n  It is a regression from here on: commit it with the fix.",
                finding.display(),
                target.name(),
                finding.display()
            );
        }
        if outcome.failed && outcome.findings.is_empty() {
            println!(
                "\n{}: the fuzzer failed without a finding: see {}",
                target.name(),
                outcome.log.display()
            );
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Where inputs lie that led further; out of git, and of use to the next run.
fn corpus(target: &str) -> Result<PathBuf> {
    let corpus = workspace::root().join("fuzz/corpus").join(target);
    fs::create_dir_all(&corpus).with_context(|| format!("cannot make {}", corpus.display()))?;
    Ok(corpus)
}
