//! The label map as an interface: the examples of the docs, built and run.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use ntc_common::{
    key::FlowKey,
    label::{Label, Stage},
    policy::CLASS_NAMES,
};
use ntc_tests::{
    agent,
    link::{Call, Link, of_call, text},
    patience::until,
    root, skip,
};
use ntc_user::kernel::tables;
use rustix::process::Signal;
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(20);

/// Pins of the C program and its maps, gone with the test.
struct Pins(PathBuf);

impl Drop for Pins {
    fn drop(&mut self) {
        // A drop cannot report; what stays is visible by its name.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Packets of a class that the C program has counted.
fn counted(class: &str, map: &Path) -> anyhow::Result<u64> {
    let dump = Command::new("bpftool").args(["--json", "map", "dump", "pinned"]).arg(map).output()?;
    let dump: Value = serde_json::from_slice(&dump.stdout).with_context(|| text(&dump))?;
    let class = CLASS_NAMES.iter().position(|name| *name == class).context("a class")?;
    let values = dump[class]["formatted"]["values"].as_array().context("of each CPU")?;
    Ok(values.iter().filter_map(|cpu| cpu["value"].as_u64()).sum())
}

fn compile(object: &Path) -> anyhow::Result<bool> {
    let folder = root().join("docs");
    let compiled = Command::new("clang")
        .args(["-O2", "-g", "-Wall", "-Werror", "-target", "bpf", "-I"])
        .arg(&folder)
        .arg(format!("-I/usr/include/{}-linux-gnu", std::env::consts::ARCH))
        .arg("-c")
        .arg(folder.join("examples/label_classes.bpf.c"))
        .arg("-o")
        .arg(object)
        .output();
    let Ok(compiled) = compiled else { return Ok(false) };
    ensure!(compiled.status.success(), "{}", text(&compiled));
    Ok(true)
}

#[test]
fn a_c_program_at_tc_uses_labels_while_the_agent_lives() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let object = folder.path().join("label_classes.o");
    if !compile(&object)? {
        skip("a_c_program_at_tc_uses_labels_while_the_agent_lives", "there is no clang on this machine")?;
        return Ok(());
    }
    let link = Link::new("label-map-c")?;
    link.addresses()?;
    let mut agent = link.agent(&[])?;
    // Of this test, beside the agent's.
    let name = format!("ntc-t{}-label-map-own", std::process::id());
    let pins = Pins(link.pins.0.with_file_name(name));
    std::fs::create_dir_all(&pins.0)?;
    let (program, maps) = (pins.0.join("program"), pins.0.join("maps"));
    let agents = |map: &str| link.pins.0.join(map);
    let loaded = Command::new("bpftool")
        .args(["prog", "load"])
        .args([&object, &program])
        .args(["map", "name", "LABELS", "pinned"])
        .arg(agents("LABELS"))
        .args(["map", "name", "HEARTBEAT", "pinned"])
        .arg(agents("HEARTBEAT"))
        .arg("pinmaps")
        .arg(&maps)
        .output()?;
    ensure!(loaded.status.success(), "{}", text(&loaded));
    let classes = maps.join("CLASSES");
    let tc = |words: &[&str]| link.agent_side.output("tc", words);
    tc(&["qdisc", "add", "dev", "r0", "clsact"])?;
    let pinned = program.display().to_string();
    tc(&["filter", "add", "dev", "r0", "ingress", "bpf", "direct-action", "pinned", &pinned])?;

    let call = Call::begin(&link)?;
    agent.until(of_call)?;
    // The agent's next answer may take it back; until then the packets count.
    let before = counted("realtime", &classes)?;
    until("packets of the class that are counted", LIMIT, || {
        link.promote()?;
        call.goes_on(10)?;
        Ok((counted("realtime", &classes)? >= before + 20).then_some(()))
    })?;
    agent.signal(Signal::KILL)?;
    agent.wait()?;
    // Within the heartbeat the label stops to count, though it is still there.
    until("labels that do not count without an agent", LIMIT, || {
        let (labelled, rest) = (counted("realtime", &classes)?, counted("unknown", &classes)?);
        call.goes_on(50)?;
        let (labelled_now, rest_now) = (counted("realtime", &classes)?, counted("unknown", &classes)?);
        Ok((labelled_now == labelled && rest_now >= rest + 50).then_some(()))
    })?;
    call.end()?;
    Ok(())
}

#[test]
fn the_rust_reader_reads_a_full_map_in_milliseconds() -> anyhow::Result<()> {
    let test = "the_rust_reader_reads_a_full_map_in_milliseconds";
    if std::env::var_os("NTC_BINARY").is_some() {
        return Ok(skip(test, "there is no compiler in the guest")?);
    }
    let link = Link::new("label-map-rust")?;
    let agent = link.agent(&["--stay"])?;
    let mut labels = tables::labels(&link.pins.0)?;
    let room = tables::label_capacity(&link.pins.0, tables::LABELS)?;
    ensure!(room >= 65_536, "{room}");
    agent.stop()?;
    let label = Label {
        start_ns: 1,
        set_at_ns: 1,
        model_epoch: 1,
        service: 0,
        confidence: u16::MAX,
        acts_as: 0,
        acts_confidence: u16::MAX,
        stage: Stage::Final as u8,
        class: 3,
        packets: 20,
        changes: 0,
    };
    for flow in 0..65_536_u32 {
        let mut key = FlowKey::ZERO;
        key.upper_addr[..4].copy_from_slice(&flow.to_be_bytes());
        labels.insert(key, label, 0)?;
    }
    let built = agent::cargo()
        .current_dir(root())
        .args(["build", "--quiet", "--release", "--package", "ntc-user", "--example", "labels"])
        .status()?;
    ensure!(built.success(), "the example cannot be built");
    let read = Command::new(root().join("target/release/examples/labels")).arg(&link.pins.0).output()?;
    let said = text(&read);
    ensure!(read.status.success() && said.contains("realtime        65536 flows"), "{said}");
    let ms: f64 = said
        .lines()
        .find_map(|line| line.strip_prefix("65536 labels in ")?.strip_suffix(" ms")?.parse().ok())
        .with_context(|| said.clone())?;
    // Some milliseconds on an idle machine; here others run beside it.
    ensure!(ms < 500.0, "{ms} ms");
    Ok(())
}
