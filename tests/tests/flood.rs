//! The agent under fire: a short version of `cargo xtask flood`, which judges by itself.

use std::process::Stdio;

use anyhow::{Context as _, ensure};
use ntc_tests::{
    agent::{binary, cargo},
    root,
};
use serde_json::Value;

const FLOWS: u64 = 100;
const KINDS: [&str; 6] = ["syn-open", "syn-closed", "udp-spray", "fragments", "bad-lengths", "ipv6-chains"];

#[test]
#[ignore = "takes minutes, and the machine for itself: `cargo xtask flood` does the same at length"]
fn live_flows_keep_their_labels_in_every_flood() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let json = folder.path().join("flood.json");
    let flows = FLOWS.to_string();
    let mut cargo = cargo();
    cargo
        .current_dir(root())
        .args(["run", "--quiet", "--release", "--package", "xtask", "--", "flood", "--duration", "3"])
        // Loss on a machine that runs other tests beside this one is no statement about ntc.
        .args(["--no-baseline", "--flows", &flows, "--ntc"])
        .arg(binary()?)
        .arg("--json")
        .arg(&json)
        .stdin(Stdio::null());
    let output = cargo.output()?;
    let said = || {
        let text = [&output.stdout[..], &output.stderr[..]].concat();
        String::from_utf8_lossy(&text).into_owned()
    };
    // 1: it ran to its end and something was not met, which is looked at below.
    ensure!(json.exists(), "no report ({}): {}", output.status, said());
    let report: Value = serde_json::from_slice(&std::fs::read(&json)?)?;
    let floods = report["floods"].as_array().context("floods")?;
    let kinds: Vec<_> = floods.iter().filter_map(|flood| flood["kind"].as_str()).collect();
    ensure!(kinds == KINDS, "{kinds:?}");
    for flood in floods {
        let kind = &flood["kind"];
        let number = |path: &str| {
            flood.pointer(path).and_then(Value::as_u64).with_context(|| format!("{kind}: no {path}"))
        };
        ensure!(number("/offered")? > 10_000, "{kind}: hardly a flood: {flood}");
        ensure!(number("/seen")? > number("/forwarding/calls_sent")?, "{kind}: ntc saw no flood: {flood}");
        ensure!(number("/labelled")? == FLOWS && number("/kept")? >= FLOWS * 99 / 100, "{kind}: {}", said());
        ensure!(flood["ledger_closes"] == true, "{kind}: the ledger does not close: {flood}");
        let (sent, lost) = (number("/forwarding/calls_sent")?, &flood["forwarding"]["calls_lost_percent"]);
        ensure!(
            sent > 0 && lost.as_f64().is_some_and(|lost| lost < 50.0),
            "{kind}: calls are cut off: {flood}"
        );
        ensure!(flood["recovery_s"].is_number(), "{kind}: new flows get no labels any more: {}", said());
    }
    ensure!(report["agent"]["ledger"]["closes"] == true, "{}", report["agent"]);
    Ok(())
}
