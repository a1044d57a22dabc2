//! The step under Debian's kernel: the same test binaries, in the guest.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{Runner, Tally, watch};
use crate::{
    guest::{self, Console, Job},
    setup, workspace,
};

/// The crate whose tests need the kernel, by the end of its manifest's path.
const MANIFEST: &str = "/tests/Cargo.toml";
/// Its tests that do not hang on how long something takes: the object loads and does there what it does here. The
/// others run there by hand, with `cargo xtask guest`.
const TESTS: &[&str] = &["enforce", "parity"];
/// An emulated processor is slow; on the machine's own kernel all packets of the corpus are compared.
const PARITY_EVERY: (&str, &str) = ("NTC_PARITY_EVERY", "40");
/// The guest is ended after so many seconds. It takes a quarter of that where it has two processors for itself.
const LIMIT_S: u32 = 900;

/// What names of tests begin with here.
pub fn prefix() -> String {
    format!("linux-{}::", setup::GUEST_SERIES)
}

/// Runs the tests that need a kernel in the guest; counted as skipped where there can be none.
pub fn tests(tally: &mut Tally) -> Result<()> {
    let prefix = prefix();
    if let Err(error) = guest::ready() {
        tally.skipped_step(&format!("{prefix}*"), &format!("{error:#}"));
        return Ok(());
    }
    let mut job = Job::new(Console::Output)?;
    job.environment(PARITY_EVERY.0, PARITY_EVERY.1);
    for (name, binary) in binaries()? {
        job.say(&format!("== {name}"));
        job.command(&[binary, "--color=never".to_owned()]);
    }
    watch(&mut guest::command(&job, LIMIT_S)?, Runner::Libtest, &prefix, tally)?;
    for line in job.skipped() {
        tally.skipped_while_running(&format!("{prefix}{line}"));
    }
    let status = job.status()?;
    ensure!(status == 0, "tests failed under the guest's kernel ({status})");
    Ok(())
}

/// Name and file of the tests, as cargo builds them for the step before.
fn binaries() -> Result<Vec<(String, String)>> {
    // All of the workspace, as in the step before: fewer packages have other features, and all would be built anew.
    let mut cargo = super::cargo_test();
    cargo.args(["--no-run", "--message-format=json-render-diagnostics"]);
    let messages = workspace::output(&mut cargo)?;
    let mut binaries = Vec::new();
    for line in messages.lines() {
        let message: Value = serde_json::from_str(line).with_context(|| format!("cargo said {line}"))?;
        let target = &message["target"];
        let of_package = message["manifest_path"].as_str().is_some_and(|path| path.ends_with(MANIFEST));
        let is_test = target["kind"].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "test"));
        let (Some(name), Some(path)) = (target["name"].as_str(), message["executable"].as_str()) else {
            continue;
        };
        if of_package && is_test && TESTS.contains(&name) {
            binaries.push((name.to_owned(), path.to_owned()));
        }
    }
    ensure!(!binaries.is_empty(), "{MANIFEST} has no tests for the guest");
    Ok(binaries)
}
