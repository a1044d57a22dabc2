//! Adds up what the test runners report in their own formats.

use std::collections::BTreeSet;

/// Whose lines are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runner {
    /// Rust's own, behind `cargo test`.
    Libtest,
    /// The training package's, called with `-q -rs`.
    Pytest,
}

/// Tests by outcome, over all runners.
#[derive(Debug, Default)]
pub struct Tally {
    passed: usize,
    failed: usize,
    not_run: usize,
    /// Rust tests that found out while running that they cannot run here; libtest counts them as passed.
    stopped: usize,
    /// Name and reason of each skipped test: pytest folds equal ones into one line.
    reasons: BTreeSet<(String, String)>,
}

impl Tally {
    /// Takes one line of a runner's output.
    pub fn note(&mut self, runner: Runner, line: &str) {
        match runner {
            Runner::Libtest => self.note_libtest(line),
            Runner::Pytest => self.note_pytest(line),
        }
    }

    /// Takes one line `NAME: REASON` of a Rust test that gave up.
    pub fn skipped_while_running(&mut self, line: &str) {
        // A name may hold `::`, a reason may hold `: `.
        let (name, reason) = line.split_once(": ").unwrap_or((line, "no reason given"));
        if self.reasons.insert((name.to_owned(), reason.to_owned())) {
            self.stopped += 1;
        }
    }

    /// Takes a whole step that cannot be done here; how many tests it has, it alone would know.
    pub fn skipped_step(&mut self, name: &str, reason: &str) {
        self.reasons.insert((name.to_owned(), reason.to_owned()));
        self.not_run += 1;
    }

    /// Name and reason of each skipped test.
    pub fn skipped(&self) -> impl Iterator<Item = &(String, String)> {
        self.reasons.iter()
    }

    /// The closing line.
    pub fn line(&self) -> String {
        let passed = self.passed.saturating_sub(self.stopped);
        format!("{passed} passed, {} failed, {} skipped", self.failed, self.not_run + self.stopped)
    }

    /// `test result: ok. 3 passed; 0 failed; 1 ignored; …` closes a binary; `test NAME ... ignored, REASON` is one test,
    /// and `skipped: NAME: REASON` one that says so itself, past libtest's capture.
    fn note_libtest(&mut self, line: &str) {
        if let Some((_, counts)) = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". ")) {
            for (count, what) in counts.split("; ").filter_map(counted) {
                match what {
                    "passed" => self.passed += count,
                    "failed" => self.failed += count,
                    "ignored" => self.not_run += count,
                    _ => {}
                }
            }
        } else if let Some(test) = line.strip_prefix("skipped: ") {
            self.skipped_while_running(test);
        } else if let Some((name, reason)) =
            line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... ignored"))
        {
            let reason = reason.strip_prefix(", ").unwrap_or("ignored");
            self.reasons.insert((name.to_owned(), reason.to_owned()));
        }
    }

    /// `3 passed, 1 skipped in 0.12s` closes the run; `SKIPPED [1] FILE:LINE: REASON` is one place with its tests.
    fn note_pytest(&mut self, line: &str) {
        if let Some((_, rest)) = line.strip_prefix("SKIPPED [").and_then(|rest| rest.split_once("] ")) {
            let (name, reason) = rest.split_once(": ").unwrap_or((rest, "no reason given"));
            self.reasons.insert((name.to_owned(), reason.to_owned()));
        } else if let Some((counts, _)) = line.trim_matches(['=', ' ']).rsplit_once(" in ") {
            let counts: Option<Vec<_>> = counts.split(", ").map(counted).collect();
            for (count, what) in counts.unwrap_or_default() {
                match what {
                    "passed" | "xfailed" => self.passed += count,
                    "failed" | "xpassed" | "error" | "errors" => self.failed += count,
                    "skipped" | "deselected" => self.not_run += count,
                    _ => {}
                }
            }
        }
    }
}

/// `3 passed` as a number and its noun.
fn counted(text: &str) -> Option<(usize, &str)> {
    let (count, what) = text.split_once(' ')?;
    Some((count.parse().ok()?, what))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(runner: Runner, output: &str) -> Tally {
        let mut tally = Tally::default();
        output.lines().for_each(|line| tally.note(runner, line));
        tally
    }

    #[test]
    fn libtest_binaries_add_up() {
        let tally = tally(
            Runner::Libtest,
            "test parse::tests::ipv4 ... ok\n\
             test attach ... ignored, needs two machines\n\
             test result: FAILED. 3 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
             test result: ok. 4 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s",
        );
        assert_eq!(tally.line(), "7 passed, 2 failed, 1 skipped");
        let reasons: Vec<_> = tally.skipped().cloned().collect();
        assert_eq!(reasons, [("attach".to_owned(), "needs two machines".to_owned())]);
    }

    #[test]
    fn a_test_that_gave_up_is_skipped_not_passed() {
        let mut tally = tally(Runner::Libtest, "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured");
        tally.skipped_while_running("kernel::loads: needs CAP_BPF: not root");
        tally.note(Runner::Libtest, "skipped: kernel::loads: needs CAP_BPF: not root");
        assert_eq!(tally.line(), "2 passed, 0 failed, 1 skipped");
        let reasons: Vec<_> = tally.skipped().cloned().collect();
        assert_eq!(reasons, [("kernel::loads".to_owned(), "needs CAP_BPF: not root".to_owned())]);
    }

    #[test]
    fn a_step_that_cannot_be_done_is_one_skipped() {
        let mut tally = tally(Runner::Libtest, "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured");
        tally.skipped_step("linux-6.1::*", "no qemu");
        assert_eq!(tally.line(), "3 passed, 0 failed, 1 skipped");
        assert_eq!(tally.skipped().count(), 1);
    }

    #[test]
    fn pytest_counts_in_both_of_its_styles() {
        let output = "SKIPPED [2] tests/test_export.py:9: no onnxruntime\n\
                      ==== 1 failed, 3 passed, 2 skipped, 1 warning in 0.12s ====";
        assert_eq!(tally(Runner::Pytest, output).line(), "3 passed, 1 failed, 2 skipped");
        assert_eq!(
            tally(Runner::Pytest, "5 passed, 1 error in 3.4s").line(),
            "5 passed, 1 failed, 0 skipped"
        );
    }

    #[test]
    fn other_output_counts_for_nothing() {
        let output = "took 3 passed in the night\ntest result of 4 passed\n7 of 9 in 2 s";
        assert_eq!(tally(Runner::Libtest, output).line(), "0 passed, 0 failed, 0 skipped");
        assert_eq!(tally(Runner::Pytest, output).line(), "0 passed, 0 failed, 0 skipped");
    }
}
