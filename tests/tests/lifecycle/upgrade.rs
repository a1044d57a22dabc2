//! From one version to the next, and nothing left behind.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use aya::{maps::MapInfo, programs::loaded_programs};
use ntc_tests::{agent::Agent, kernel::has_tcx, patience::patient};
use ntc_user::kernel::pins;
use rustix::process::Signal;

use crate::link::{Link, of_port, text, with_runtime};

/// Maps and programs in the kernel that hang together with what is pinned in a directory.
#[derive(Debug, Default)]
struct Objects {
    maps: BTreeSet<u32>,
    programs: BTreeSet<u32>,
}

impl Objects {
    fn of(directory: &Path) -> anyhow::Result<Self> {
        let mut objects = Self::default();
        for map in pins::PINNED {
            objects.maps.insert(MapInfo::from_pin(directory.join(map))?.id());
        }
        for program in loaded_programs().filter_map(Result::ok) {
            let maps = program.map_ids()?.unwrap_or_default();
            if maps.iter().any(|map| objects.maps.contains(map)) {
                objects.programs.insert(program.id());
                // The maps that are not pinned, too.
                objects.maps.extend(maps);
            }
        }
        Ok(objects)
    }

    /// Those of them that are still there.
    fn remain(&self) -> Self {
        let loaded = loaded_programs().filter_map(Result::ok).map(|program| program.id());
        let maps = aya::maps::loaded_maps().filter_map(Result::ok).map(|map| map.id());
        Self {
            programs: loaded.filter(|id| self.programs.contains(id)).collect(),
            maps: maps.filter(|id| self.maps.contains(id)).collect(),
        }
    }

    /// The kernel frees what nobody holds a moment later.
    fn go(&self) -> anyhow::Result<()> {
        let start = Instant::now();
        loop {
            let remain = self.remain();
            if remain.maps.is_empty() && remain.programs.is_empty() {
                return Ok(());
            }
            ensure!(start.elapsed() < patient(Duration::from_secs(10)), "left behind: {remain:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn detach_leaves_no_program_map_or_pin() -> anyhow::Result<()> {
    let link = Link::new("nothing")?;
    let mut agent = link.agent(&["--stay"])?;
    link.exchange(40_040)?;
    agent.until(of_port(40_040))?;
    let objects = Objects::of(&link.pins.0)?;
    ensure!(objects.programs.len() == 4 && objects.maps.len() > pins::PINNED.len(), "{objects:?}");
    agent.signal(Signal::KILL)?;
    agent.wait()?;
    ensure!(!objects.remain().programs.is_empty(), "they were told to stay");
    let detach = link.ntc_elsewhere(&["detach"])?;
    ensure!(!link.pins.0.exists() && !link.xdp_attached()?, "{}", text(&detach));
    if !has_tcx()? {
        // Filters on clsact are those of a network namespace.
        let said = text(&detach);
        ensure!(detach.status.code() == Some(1) && said.contains("ntc_tc_ingress"), "{said}");
        let there = link.ntc(&["detach"])?;
        ensure!(there.status.success() && text(&there).contains("removed 2 filters"), "{}", text(&there));
    } else {
        ensure!(detach.status.success(), "{}", text(&detach));
    }
    objects.go()?;

    // An orderly end needs no detach.
    let agent = link.agent(&[])?;
    let objects = Objects::of(&link.pins.0)?;
    agent.stop()?;
    objects.go()
}

/// `…/ntc/v<number>` below a pin directory of the test's own.
struct Versions<'a>(&'a Link);

impl Versions<'_> {
    fn path(&self, number: u32) -> PathBuf {
        self.0.pins.0.join("ntc").join(format!("v{number}"))
    }

    fn agent(&self, number: u32, more: &[&str]) -> anyhow::Result<Agent> {
        let arguments = [&["--iface", "r0"], more].concat();
        Agent::start(&self.0.agent_side, &self.path(number), &arguments)
    }

    fn refused(&self, number: u32) -> anyhow::Result<String> {
        let mut command = self.0.agent_side.prepare(ntc_tests::agent::binary()?);
        let command = command.args(["run", "--iface", "r0", "--pin-dir"]).arg(self.path(number));
        let output = with_runtime(command).output()?;
        ensure!(output.status.code() == Some(1), "{}", text(&output));
        Ok(text(&output))
    }
}

impl Drop for Versions<'_> {
    fn drop(&mut self) {
        // What the test made, the test removes.
        for number in [1, 2, 7] {
            let path = self.path(number);
            let _ = std::fs::remove_file(path.join("OLDER"));
            let _ = pins::remove(&path);
        }
        let _ = std::fs::remove_dir(self.0.pins.0.join("ntc"));
    }
}

#[test]
fn another_versions_pins_are_named_and_detached() -> anyhow::Result<()> {
    let link = Link::new("versions")?;
    let versions = Versions(&link);
    // A live agent of another version.
    let old = versions.agent(7, &["--stay"])?;
    let said = versions.refused(1)?;
    let who = format!("v7: another ntc agent (process {}, ntc)", old.pid());
    ensure!(said.contains(&who), "{said}");
    // It has gone, its programs have not.
    let objects = Objects::of(&versions.path(7))?;
    old.stop()?;
    let said = versions.refused(1)?;
    ensure!(
        said.contains("v7: an ntc of another version left its programs") && said.contains("ntc detach"),
        "{said}"
    );
    // A map that this version does not know.
    let map = Command::new("bpftool")
        .args(["map", "create"])
        .arg(versions.path(7).join("OLDER"))
        .args(["type", "array", "key", "4", "value", "8", "entries", "1", "name", "older"])
        .output()?;
    ensure!(map.status.success(), "{}", text(&map));
    let detach = Command::new(ntc_tests::agent::binary()?)
        .args(["detach", "--pin-dir"])
        .arg(versions.path(1))
        .output()?;
    ensure!(detach.status.success() && text(&detach).contains("of another version"), "{}", text(&detach));
    ensure!(!versions.path(7).exists() && !link.xdp_attached()?);
    objects.go()?;
    // Maps alone are in nobody's way.
    let old = versions.agent(7, &[])?;
    old.signal(Signal::KILL)?;
    old.wait()?;
    let mut agent = versions.agent(1, &[])?;
    link.exchange(40_041)?;
    agent.until(of_port(40_041))?;
    agent.stop()?;
    ensure!(versions.path(7).exists(), "somebody else's until `ntc detach`");
    Ok(())
}

#[test]
fn an_upgrade_keeps_labels_where_the_pins_fit() -> anyhow::Result<()> {
    let link = Link::new("upgrade")?;
    let mut old = link.agent(&["--stay"])?;
    link.exchange(40_042)?;
    old.until(|event| of_port(40_042)(event) && event["packets"] == 8)?;
    let flows =
        |link: &Link| link.ntc(&["flows", "--format", "json", "--port", "40042"]).map(|output| output.stdout);
    let before: serde_json::Value = serde_json::from_slice(&flows(&link)?)?;
    old.stop()?;
    let new = link.agent(&[])?;
    let after: serde_json::Value = serde_json::from_slice(&flows(&link)?)?;
    // Each process has its own idea of the wall clock, by some nanoseconds.
    let first = |flow: &serde_json::Value| flow["first_ts_ns"].as_u64().context("no time");
    ensure!(first(&before)?.abs_diff(first(&after)?) < 1_000_000, "{before} {after}");
    ensure!(before["service"] == after["service"], "{before} {after}");
    let events = new.stop()?;
    let ledger = &events.last().context("no summary")?["ledger"];
    ensure!(ledger["seen"].as_u64() >= Some(8) && ledger["closes"] == true, "counters go on: {ledger}");
    Ok(())
}
