//! `small`: the static build without ONNX Runtime, held against the full one on captures: answers, speed, memory,
//! libraries.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;

use crate::{
    build::{self, Profile},
    setup::{self, Scope},
    workspace,
};

/// What the small build may have resident at most.
const MOST_KIB: u64 = 15 * 1024;
/// libc's own files, and the loader.
const OF_LIBC: [&str; 3] = ["libc.so.6", "libm.so.6", "ld-linux"];
/// The model in the small build, which the full one is given as well where answers are compared.
const MODEL: &str = "models/residual-prior-small";
/// A reading of a process's memory comes so often.
const READING: Duration = Duration::from_millis(2);

/// What to compare on.
#[derive(Args)]
pub struct Arguments {
    /// Capture files, or folders of them
    #[arg(required = true)]
    captures: Vec<PathBuf>,
    /// So many runs of each, one after the other in turn; the quickest counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

/// What a build did.
#[derive(Debug, Default)]
struct Outcome {
    quickest_s: f64,
    peak_kib: u64,
    lines: Vec<String>,
}

/// The verb.
pub fn main(arguments: &Arguments) -> Result<()> {
    setup::ensure(&[Scope::Small])?;
    let small = binary()?;
    let full = build::agent(Profile::Release)?;
    let needed = libraries(&small)?;
    let folder = tempfile::tempdir()?;
    let builds = [("full", &full, None), ("full, small model", &full, Some(MODEL)), ("small", &small, None)];
    let mut outcomes = [Outcome::default(), Outcome::default(), Outcome::default()];
    for _ in 0..arguments.rounds.max(1) {
        for (outcome, (_, binary, model)) in outcomes.iter_mut().zip(builds) {
            classify(binary, model, &arguments.captures, &folder.path().join("answers"), outcome)?;
        }
    }
    let [of_full, of_alike, of_small] = &outcomes;
    let flows = of_alike.lines.len();
    ensure!(flows == of_small.lines.len() && flows > 0, "{flows} flows and {}", of_small.lines.len());
    let alike = of_alike.lines.iter().zip(&of_small.lines).filter(|(a, b)| label(a) == label(b)).count();
    println!("build              flows/s   peak resident   size");
    for ((name, binary, _), outcome) in builds.iter().zip(&outcomes) {
        let size = fs::metadata(binary)?.len();
        println!(
            "{name:<17}{:>9.0}{:>12.1} MB{:>8.1} MB",
            flows as f64 / outcome.quickest_s,
            outcome.peak_kib as f64 / 1024.0,
            size as f64 / f64::from(1 << 20)
        );
    }
    println!(
        "{flows} flows, {alike} labelled as the full build does with that model; at {:.2} of the full build's speed",
        of_full.quickest_s / of_small.quickest_s
    );
    println!(
        "shared libraries of the small build: {}",
        if needed.is_empty() { "none".into() } else { needed.join(", ") }
    );
    let others: Vec<_> =
        needed.iter().filter(|name| !OF_LIBC.iter().any(|of| name.starts_with(of))).collect();
    ensure!(others.is_empty(), "it needs more than libc: {others:?}");
    ensure!(of_small.peak_kib <= MOST_KIB, "{} KiB resident; {MOST_KIB} are allowed", of_small.peak_kib);
    Ok(())
}

/// Builds it with musl, which is linked into it, and takes the names of its functions out, as packages do.
fn binary() -> Result<PathBuf> {
    let target = setup::musl();
    let mut cargo = workspace::cargo();
    cargo.args(["build", "--profile", "small", "--no-default-features", "--target", &target]);
    workspace::run(cargo.args(["--package", "ntc-user", "--bin", "ntc"]))?;
    let folder = workspace::target()?;
    let (from, to) = (folder.join(target).join("small/ntc"), folder.join("small/ntc"));
    fs::create_dir_all(folder.join("small"))?;
    fs::copy(&from, &to).with_context(|| format!("cannot write {}", to.display()))?;
    workspace::output(Command::new("strip").arg(&to))?;
    Ok(to)
}

fn libraries(binary: &Path) -> Result<Vec<String>> {
    let listed = workspace::output(Command::new("readelf").arg("--dynamic").arg("--wide").arg(binary))?;
    let name =
        |line: &str| Some(line.split_once("(NEEDED)")?.1.split_once('[')?.1.trim_end_matches(']').to_owned());
    Ok(listed.lines().filter_map(name).collect())
}

fn classify(
    binary: &Path,
    model: Option<&str>,
    captures: &[PathBuf],
    output: &Path,
    outcome: &mut Outcome,
) -> Result<()> {
    let mut command = workspace::command(binary);
    command.arg("classify").args(captures).args(["--format", "json", "--output"]).arg(output);
    if let Some(model) = model {
        command.arg("--model").arg(workspace::root().join(model));
    }
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    let mut child = command.spawn().with_context(|| binary.display().to_string())?;
    let status = format!("/proc/{}/status", child.id());
    let ended = loop {
        if let Some(ended) = child.try_wait()? {
            break ended;
        }
        let text = fs::read_to_string(&status).unwrap_or_default();
        let peak = text
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
        outcome.peak_kib = outcome.peak_kib.max(peak.unwrap_or(0));
        thread::sleep(READING);
    };
    let took = start.elapsed().as_secs_f64();
    // 3: some captures are damaged, which is no matter here.
    if !matches!(ended.code(), Some(0 | 3)) {
        bail!("{} ended with {ended}", binary.display());
    }
    if outcome.quickest_s == 0.0 || took < outcome.quickest_s {
        outcome.quickest_s = took;
    }
    outcome.lines = fs::read_to_string(output)?.lines().map(str::to_owned).collect();
    outcome.lines.sort();
    Ok(())
}

/// All but the confidence, which differs in its last digits.
fn label(line: &str) -> Option<(String, String)> {
    let value: serde_json::Value = serde_json::from_str(line).ok()?;
    Some((value["service"].to_string(), value["first_ts_ns"].to_string()))
}
