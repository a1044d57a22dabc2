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
/// Its test binaries that run there, each with parts of the names of its tests: all if there is none. They do not hang
/// on how long something takes, and show what is another's there: the verifier, tc without TCX, devices that lie on
/// others. The others run there by hand, with `cargo xtask guest`: each start of the agent takes seconds.
const TESTS: &[(&str, &[&str])] = &[
    ("enforce", &[]),
    ("parity", &[]),
    ("stacked", &[]),
    ("qdisc", &["cake", "somebody"]),
    ("queues", &[]),
    ("wire", &[]),
    (
        "hooks",
        &[
            "native_xdp_comes_first",
            "clsact::filters_on_clsact",
            "a_start_that_fails",
            "without_a_link_header",
            "stack::",
        ],
    ),
    ("sdn", &["queue"]),
    ("lifecycle", &["told_to_stay", "pins_are_closed", "detach_leaves_no_program_map_or_pin"]),
];
/// An emulated processor is slow; on the machine's own kernel all packets of the corpus are compared.
const PARITY_EVERY: (&str, &str) = ("NTC_PARITY_EVERY", "40");
/// The guest is ended after so many seconds: it took 625 beside training, and more than 900 beside a build.
const LIMIT_S: u32 = 1500;

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
    for (name, tests, binary) in binaries()? {
        job.say(&format!("== {name}"));
        let tests = tests.iter().map(|test| (*test).to_owned());
        let command: Vec<_> = [binary, "--color=never".to_owned()].into_iter().chain(tests).collect();
        job.command(&command);
    }
    watch(&mut guest::command(&job, LIMIT_S)?, Runner::Libtest, &prefix, tally)?;
    for line in job.skipped() {
        tally.skipped_while_running(&format!("{prefix}{line}"));
    }
    let status = job.status()?;
    ensure!(status == 0, "tests failed under the guest's kernel ({status})");
    Ok(())
}

/// A test binary's name, what picks its tests, and its file.
type Binary = (String, &'static [&'static str], String);

/// The tests, as cargo builds them for the step before.
fn binaries() -> Result<Vec<Binary>> {
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
        let wanted = TESTS.iter().find(|(wanted, _)| *wanted == name);
        if let Some((_, tests)) = wanted.filter(|_| of_package && is_test) {
            binaries.push((name.to_owned(), *tests, path.to_owned()));
        }
    }
    ensure!(binaries.len() == TESTS.len(), "{MANIFEST} lacks some of the guest's tests: {binaries:?}");
    Ok(binaries)
}
