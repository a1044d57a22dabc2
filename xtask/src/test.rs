//! `test`: all that a change must pass. Every step runs even if one before it failed, so that one run tells all.

mod guest;
mod tally;

use std::{
    env, fs,
    io::{self, BufRead as _, BufReader, IsTerminal as _, Read, Write},
    process::{Command, ExitCode, Stdio},
    sync::mpsc::{RecvTimeoutError, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    lint,
    setup::{self, Scope},
    workspace,
};
use tally::{Runner, Tally};

/// Names the file to which a test that cannot run here appends `NAME: REASON`: libtest knows no skipping at run time.
const SKIPPED_TESTS: &str = "NTC_SKIPPED_TESTS";

/// What lines of libtest begin with that name a test, but for the one that adds up.
const TEST: &[u8] = b"test ";
const TEST_RESULT: &[u8] = b"test result";

/// How long what a runner said last is waited for after it ended. More does not come where it left nothing running, and a
/// program that it left would hold its output for ever.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// The step that runs in the guest.
const GUEST: &str = "Rust tests under Linux 6.1 (guest)";

struct Step {
    name: &'static str,
    took: Duration,
    result: Result<()>,
}

/// The verb.
pub fn main() -> Result<ExitCode> {
    setup::ensure(&[Scope::Test])?;
    let mut tally = Tally::default();
    let steps = [
        step("format", || workspace::run(&mut lint::format())),
        step("clippy of the host crates", || workspace::run(&mut lint::clippy_host())),
        step("clippy of the BPF crate", || workspace::run(&mut lint::clippy_bpf()?)),
        step("Rust tests", || rust_tests(&mut tally)),
        step(GUEST, || guest::tests(&mut tally)),
        step("tests of the training package", || python_tests(&mut tally)),
    ];
    Ok(report(&steps, &tally))
}

/// The step in the guest alone.
pub fn in_guest() -> ExitCode {
    let mut tally = Tally::default();
    report(&[step(GUEST, || guest::tests(&mut tally))], &tally)
}

/// The trial of the packages, in a guest of its own that `command` runs.
pub fn trial(command: &mut Command, status: impl FnOnce() -> Result<u8>) -> Result<ExitCode> {
    let mut tally = Tally::default();
    let step = step("packages in a fresh Debian", || {
        watch(command, Runner::Libtest, "installed::", &mut tally)?;
        let status = status()?;
        ensure!(status == 0, "steps failed ({status})");
        Ok(())
    });
    Ok(report(&[step], &tally))
}

fn step(name: &'static str, work: impl FnOnce() -> Result<()>) -> Step {
    println!("\n== {name}");
    let start = Instant::now();
    let result = work();
    if let Err(error) = &result {
        eprintln!("error: {error:#}");
    }
    Step { name, took: start.elapsed(), result }
}

/// Every crate but the BPF one, whose programs are tested through the kernel by the crate `tests/`. In the release
/// profile: the heavy crates are compiled once for `run` and `test`, and the object that ships is the one tested.
fn rust_tests(tally: &mut Tally) -> Result<()> {
    let skipped = workspace::tools().join("skipped-tests");
    fs::write(&skipped, "").with_context(|| format!("cannot write {}", skipped.display()))?;
    let mut cargo = cargo_test();
    cargo.arg("--no-fail-fast").env(SKIPPED_TESTS, &skipped);
    let result = watch(&mut cargo, Runner::Libtest, "", tally);
    for line in fs::read_to_string(&skipped)?.lines() {
        tally.skipped_while_running(line);
    }
    result
}

fn cargo_test() -> Command {
    let mut cargo = workspace::cargo();
    cargo.args(["test", "--release", "--workspace", "--exclude", "ntc-ebpf"]);
    cargo
}

fn python_tests(tally: &mut Tally) -> Result<()> {
    let mut pytest = workspace::command(setup::TRAINING.python());
    pytest.current_dir(workspace::root().join("models"));
    // -rs lists each skipped test with its reason; the cache would be litter in the work tree.
    pytest.args(["-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider"]);
    watch(&mut pytest, Runner::Pytest, "", tally)
}

/// Runs a test runner, passing on what it prints as it comes, and adds its results to the tally. Names of Rust tests
/// get the prefix, which tells where they ran.
fn watch(command: &mut Command, runner: Runner, prefix: &str, tally: &mut Tally) -> Result<()> {
    let line = workspace::show(command);
    eprintln!("$ {line}");
    if io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none() {
        command.env("CARGO_TERM_COLOR", "always"); // cargo sees a pipe
    }
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("could not start `{line}`"))?;
    let (sender, lines) = channel();
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    thread::spawn({
        let (prefix, sender) = (prefix.to_owned(), sender.clone());
        move || pass_on(stdout, io::stdout(), &prefix, &sender)
    });
    let prefix = prefix.to_owned();
    thread::spawn(move || pass_on(stderr, io::stderr(), &prefix, &sender));
    let mut deadline = None;
    loop {
        if deadline.is_none() && child.try_wait()?.is_some() {
            deadline = Some(Instant::now() + LAST_WORDS);
        }
        if deadline.is_some_and(|deadline| Instant::now() > deadline) {
            eprintln!("xtask: `{line}` has ended and left something running that holds its output");
            break;
        }
        match lines.recv_timeout(LAST_WORDS / 10) {
            Ok(said) => tally.note(runner, &said),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let status = child.wait()?;
    ensure!(status.success(), "`{line}` failed: {status}");
    Ok(())
}

/// Copies line by line, and sends each; what is not UTF-8 is sent as it can be. Ends with the pipe.
fn pass_on(from: Option<impl Read>, mut to: impl Write, prefix: &str, lines: &Sender<String>) {
    let Some(from) = from else { return };
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while matches!(from.read_until(b'\n', &mut line), Ok(1..)) {
        if line.starts_with(TEST) && !line.starts_with(TEST_RESULT) {
            line.splice(TEST.len()..TEST.len(), prefix.bytes());
        }
        // A reader that has gone (`| head`) does not stop the tests.
        let _ = to.write_all(&line).and_then(|()| to.flush());
        // Who no longer listens has seen the runner end.
        let _ = lines.send(String::from_utf8_lossy(&line).trim_end().to_owned());
        line.clear();
    }
}

/// The summary. Its last line is plain, for programs that look for one.
fn report(steps: &[Step], tally: &Tally) -> ExitCode {
    println!("\n== summary");
    for step in steps {
        let verdict = if step.result.is_ok() { "ok" } else { "FAILED" };
        println!("{verdict:8}{:36}{:>8.1} s", step.name, step.took.as_secs_f64());
    }
    for (name, reason) in tally.skipped() {
        println!("skipped {name}: {reason}");
    }
    let failed: Vec<_> = steps.iter().filter(|step| step.result.is_err()).map(|step| step.name).collect();
    if !failed.is_empty() {
        println!("failed: {}", failed.join(", "));
    }
    println!("{}", tally.line());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use super::*;

    // In pytest's words: this test's own runner reads along, and takes libtest's for results.

    #[test]
    fn what_a_test_left_running_does_not_hold_up_the_summary() {
        let said = "echo '3 passed, 1 skipped in 0.12s'; sleep 60 &";
        let (begin, mut tally) = (Instant::now(), Tally::default());
        watch(Command::new("sh").args(["-c", said]), Runner::Pytest, "", &mut tally).unwrap();
        assert_eq!(tally.line(), "3 passed, 0 failed, 1 skipped");
        assert!(begin.elapsed() < Duration::from_secs(40), "it waited for what was left running");
    }

    #[test]
    fn a_runner_that_fails_is_told_with_all_that_it_said() {
        let said = "echo '2 failed, 1 passed in 0.10s'; exit 1";
        let mut tally = Tally::default();
        let result = watch(Command::new("sh").args(["-c", said]), Runner::Pytest, "", &mut tally);
        assert!(result.unwrap_err().to_string().contains("failed: exit status: 1"));
        assert_eq!(tally.line(), "1 passed, 2 failed, 0 skipped");
    }
}
