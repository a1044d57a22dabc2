//! libFuzzer's processes: how they are started, what they print, what they leave.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{BufRead as _, BufReader, Read, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use crate::workspace;

/// Memory above which an input is a finding, in MB. The largest zstd window is 128 MB.
const MEMORY_MB: u32 = 1024;
/// Time above which an input is a finding, in s.
const TIME_S: u32 = 10;
/// Between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(15);

/// A target and how long to fuzz it.
pub struct Run {
    /// The target, instrumented.
    pub program: PathBuf,
    /// Its name.
    pub target: &'static str,
    /// Longest input in bytes.
    pub max_len: usize,
    /// Inputs to try, over all processes.
    pub executions: u64,
    /// Processes.
    pub jobs: u64,
}

/// What fuzzing a target came to.
#[derive(Default)]
pub struct Outcome {
    /// Inputs tried.
    pub executions: u64,
    /// From start to end.
    pub took: Duration,
    /// Edges of the code that some input reached.
    pub edges: u64,
    /// Inputs in the corpus that reached something of their own.
    pub inputs: u64,
    /// Greatest resident memory of a process in MB.
    pub peak_rss_mb: u64,
    /// Inputs that broke a promise.
    pub findings: Vec<PathBuf>,
    /// A process ended otherwise than with success.
    pub failed: bool,
    /// All that the processes printed.
    pub log: PathBuf,
}

impl Run {
    /// Fuzzes until the inputs are tried or something is found.
    pub fn run(&self) -> Result<Outcome> {
        let regressions = workspace::root().join("tests/regressions").join(self.target);
        fs::create_dir_all(&regressions)?;
        let before = files(&regressions)?;
        let log = workspace::target()?.join(format!("fuzz-{}.log", self.target));
        let start = Instant::now();
        let processes: Vec<Outcome> = thread::scope(|scope| {
            let all: Vec<_> = (0..self.jobs)
                .map(|job| {
                    let executions =
                        self.executions / self.jobs + u64::from(job < self.executions % self.jobs);
                    let (log, regressions) = (log.with_extension(format!("{job}.log")), &regressions);
                    scope.spawn(move || {
                        let mut child = self.start(executions, regressions)?;
                        let watched = self.watch(&mut child, executions, &log);
                        let status = child.wait()?;
                        watched.map(|outcome| Outcome { failed: !status.success(), log, ..outcome })
                    })
                })
                .collect();
            all.into_iter()
                .map(|process| process.join().unwrap_or_else(|_| anyhow::bail!("lost")))
                .collect::<Result<_>>()
        })?;
        let mut sum = Outcome { took: start.elapsed(), log, ..Outcome::default() };
        for process in processes {
            sum.executions += process.executions;
            sum.edges = sum.edges.max(process.edges);
            sum.inputs = sum.inputs.max(process.inputs);
            sum.peak_rss_mb = sum.peak_rss_mb.max(process.peak_rss_mb);
            sum.failed |= process.failed;
            if process.failed {
                sum.log = process.log;
            }
        }
        sum.findings = files(&regressions)?.difference(&before).cloned().collect();
        Ok(sum)
    }

    fn start(&self, executions: u64, regressions: &Path) -> Result<Child> {
        let fuzz = workspace::root().join("fuzz");
        let mut command = Command::new(&self.program);
        command
            .arg(format!("-runs={executions}"))
            .arg(format!("-max_len={}", self.max_len))
            .arg(format!("-timeout={TIME_S}"))
            .arg(format!("-rss_limit_mb={MEMORY_MB}"))
            // Where it writes the input that it stops at.
            .arg(format!("-artifact_prefix={}/", regressions.display()))
            .args(["-print_final_stats=1", "-reload=10"]);
        let dictionary = fuzz.join("dictionaries").join(self.target);
        if dictionary.is_file() {
            command.arg(format!("-dict={}", dictionary.display()));
        }
        // The first folder is written to, the others are read.
        command.arg(super::corpus(self.target)?);
        for folder in [fuzz.join("seeds").join(self.target), regressions.to_owned()] {
            if folder.is_dir() {
                command.arg(folder);
            }
        }
        // Buffers of 256 KiB are made and dropped for each input: not by system calls.
        command.envs([("MALLOC_MMAP_THRESHOLD_", "67108864"), ("MALLOC_TRIM_THRESHOLD_", "268435456")]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().with_context(|| format!("could not start {}", self.program.display()))
    }

    /// Keeps all that it prints, shows how far it is, and the lines that tell of a finding.
    fn watch(&self, child: &mut Child, executions: u64, log: &Path) -> Result<Outcome> {
        let mut file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut outcome = Outcome::default();
        let Some(stderr) = child.stderr.take() else { return Ok(outcome) };
        let (start, mut shown) = (Instant::now(), Instant::now());
        eprintln!("{}: {executions} executions; log in {}", self.target, log.display());
        for line in lines(stderr) {
            writeln!(file, "{line}")?;
            outcome.note(&line);
            if shown.elapsed() >= PROGRESS {
                shown = Instant::now();
                let rate = outcome.executions as f64 / start.elapsed().as_secs_f64();
                eprintln!(
                    "{}: {} of {executions} executions, {rate:.0}/s, {} edges, {} inputs",
                    self.target, outcome.executions, outcome.edges, outcome.inputs
                );
            }
        }
        Ok(outcome)
    }
}

impl Outcome {
    /// Takes from a line what it tells: `#4096 NEW cov: 310 ft: 812 corp: 55/1020b …`, or a statistic at the end.
    fn note(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        if let Some(executions) = words.next().and_then(|word| word.strip_prefix('#')) {
            if let Ok(executions) = executions.parse() {
                self.executions = executions;
            }
            while let Some(word) = words.next() {
                match (word, words.clone().next()) {
                    ("cov:", Some(value)) => self.edges = value.parse().unwrap_or(self.edges),
                    ("corp:", Some(value)) => {
                        let inputs = value.split('/').next().unwrap_or_default();
                        self.inputs = inputs.parse().unwrap_or(self.inputs);
                    }
                    _ => {}
                }
            }
        } else if let Some(rest) = line.strip_prefix("stat::") {
            let value = rest.split_whitespace().nth(1).and_then(|value| value.parse().ok()).unwrap_or(0);
            if rest.starts_with("number_of_executed_units") {
                self.executions = value;
            } else if rest.starts_with("peak_rss_mb") {
                self.peak_rss_mb = value;
            }
        } else if line.contains("panicked at") || line.starts_with("SUMMARY:") || line.contains("ERROR:") {
            eprintln!("{line}");
        }
    }
}

/// Lines as text, whatever is in them: inputs are printed, too.
fn lines(from: impl Read) -> impl Iterator<Item = String> {
    BufReader::new(from)
        .split(b'\n')
        .map_while(Result::ok)
        .map(|line| String::from_utf8_lossy(&line).into_owned())
}

fn files(folder: &Path) -> Result<BTreeSet<PathBuf>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_fuzzer_prints_is_understood() {
        let mut outcome = Outcome::default();
        outcome.note(
            "#4096\tNEW    cov: 310 ft: 812 corp: 55/1020b lim: 43 exec/s: 2048 rss: 37Mb L: 9/43 MS: 1",
        );
        assert_eq!((outcome.executions, outcome.edges, outcome.inputs), (4096, 310, 55));
        outcome.note("stat::number_of_executed_units: 10000000");
        outcome.note("stat::peak_rss_mb:              61");
        assert_eq!((outcome.executions, outcome.peak_rss_mb, outcome.edges), (10_000_000, 61, 310));
    }
}
