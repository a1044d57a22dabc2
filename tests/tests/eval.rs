//! `ntc eval` on captures with labels.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use anyhow::{Context as _, ensure};
use ntc_tests::{
    agent::binary,
    corpus,
    frames::{Frame, write_pcap},
};
use ntc_user::classify::{Bundle, Store};
use serde_json::Value;

const KEYS: [&str; 14] = [
    "flows",
    "known_flows",
    "labels",
    "accuracy",
    "known_accuracy",
    "weighted_f1",
    "macro_f1",
    "weighted_precision",
    "weighted_recall",
    "off_port_flows",
    "off_port_accuracy",
    "ece",
    "coverage_90_accuracy",
    "unknown_auroc",
];

fn eval(captures: &Path, labels: &Path, json: &Path, more: &[&str]) -> anyhow::Result<Output> {
    let mut command = Command::new(binary()?);
    command.arg("eval").arg("--captures").arg(captures).arg("--labels").arg(labels).arg("--json").arg(json);
    command.args(more).env("ORT_DYLIB_PATH", ntc_tests::root().join(".tools/onnxruntime/libonnxruntime.so"));
    Ok(command.output()?)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

/// A capture with a DNS exchange, one on a port that is not DNS's, and one that no label names; and its labels.
fn small(folder: &Path) -> anyhow::Result<()> {
    let mut frames = Vec::new();
    let mut labels =
        String::from("capture,src_ip,dst_ip,src_port,dst_port,proto,first_ts_us,label,category,rank,repo\n");
    for (second, port, label) in [
        (1u64, 53, "DNS.Google,Network,1"),
        (2, 14_000, "DNS,Network,2"),
        (3, 53, ""),
        (4, 53, "DNS,Network,301"),
    ] {
        let from = 40_000 + second as u16;
        let question = Frame::udp(("192.0.2.1".parse()?, from), ("198.51.100.1".parse()?, port), 40);
        frames.push((second * 1_000_000_000, question.bytes()));
        frames.push((second * 1_000_000_000 + 5_000_000, question.reply(120).bytes()));
        if !label.is_empty() {
            let at = second * 1_000_000;
            labels += &format!("a.pcap,192.0.2.1,198.51.100.1,{from},{port},17,{at},{label},x/y\n");
        }
    }
    write_pcap(&folder.join("a.pcap"), &frames)?;
    labels += "a.pcap,192.0.2.9,198.51.100.1,1,2,17,5,DNS,Network,1,x/y\n";
    fs::write(folder.join("labels.csv"), &labels)?;
    fs::write(folder.join("labels.csv.zst"), zstd::encode_all(labels.as_bytes(), 3)?)?;
    Ok(())
}

#[test]
fn labelled_flows_are_judged_and_the_others_left_out() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    small(folder.path())?;
    let json = folder.path().join("figures.json");
    let (captures, labels) = (folder.path().join("a.pcap"), folder.path().join("labels.csv"));
    for (labels, level) in [(&labels, "protocol"), (&folder.path().join("labels.csv.zst"), "service")] {
        let output = eval(&captures, labels, &json, &["--level", level])?;
        ensure!(output.status.success(), "{}", said(&output));
        let found: Value = serde_json::from_slice(&fs::read(&json)?)?;
        for key in KEYS {
            ensure!(found.get(key).is_some(), "{key} is missing: {found}");
        }
        ensure!(found["flows"] == 2 && found["known_flows"] == 2 && found["labels"] == 1, "{found}");
        ensure!(found["missing_flows"] == 1 && found["off_port_flows"] == 1, "{found}");
        ensure!(found["unknown_auroc"].is_null(), "every flow is known: {found}");
        for table in ["one label against the rest", "worst confusions", "source of the captures", "x/y"] {
            ensure!(said(&output).contains(table), "no {table}: {}", said(&output));
        }
        ensure!(said(&output).contains("1 of 3 labelled flows"), "{}", said(&output));
    }
    let all = eval(&captures, &labels, &json, &["--level", "class", "--max-rank", "1000", "--no-ports"])?;
    ensure!(all.status.success() && said(&all).contains("without ports"), "{}", said(&all));
    let found: Value = serde_json::from_slice(&fs::read(&json)?)?;
    ensure!(found["flows"] == 3 && found["ports"] == false, "{found}");

    fs::write(&labels, "capture,src_ip,dst_ip,src_port,dst_port,proto,first_ts_us,label\n")?;
    let none = eval(&captures, &labels, &json, &["--level", "protocol"])?;
    ensure!(none.status.code() == Some(1) && said(&none).contains("none of the 0"), "{}", said(&none));
    let wrong = eval(&captures, &labels, &json, &["--level", "protocol", "--model", "nonsense"])?;
    ensure!(wrong.status.code() == Some(1) && said(&wrong).contains("none is called"), "{}", said(&wrong));
    Ok(())
}

/// Figures here and PyTorch's, which the manifest has with four digits.
const APART: f64 = 1e-4 + 0.5e-4;
/// The same of a graph that is computed in 8 bits, where a last digit may tip a value over to the next of 256.
const QUANTISED_APART: f64 = 5e-3;

/// What each bundle's manifest says of the flows that it was trained on is what PyTorch found.
#[test]
fn every_bundle_is_as_good_here_as_in_the_training_package() -> anyhow::Result<()> {
    let Some(corpus) = corpus::open("eval")? else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let json = folder.path().join("figures.json");
    let models = ntc_tests::root().join("models");
    let bundles = Store::new(Some(&models)).list();
    ensure!(!bundles.is_empty(), "no bundles in {}", models.display());
    for bundle in bundles {
        let Bundle { manifest, vectors, .. } = Bundle::open(&bundle)?;
        let apart = if vectors.tolerance > 1e-3 { QUANTISED_APART } else { APART };
        let theirs = &manifest.evaluation["all"]["protocol"];
        let bundle = bundle.display().to_string();
        let output =
            eval(&corpus.captures, &corpus.labels, &json, &["--level", "protocol", "--model", &bundle])?;
        ensure!(output.status.success(), "{}", said(&output));
        let ours: Value = serde_json::from_slice(&fs::read(&json)?)?;
        ensure!(ours["missing_flows"] == 0, "{ours}");
        for key in KEYS {
            let number = |value: &toml::Value| value.as_float().or(value.as_integer().map(|n| n as f64));
            let wanted = theirs.get(key).and_then(number).with_context(|| format!("{bundle}: {key}"))?;
            let found = ours[key].as_f64().with_context(|| format!("{bundle}: {key}: {ours}"))?;
            ensure!((found - wanted).abs() <= apart, "{bundle}: {key}: {found} here, {wanted} in PyTorch");
        }
    }
    Ok(())
}

/// The table of classes is the one by which answers are judged.
#[test]
fn the_classes_are_those_of_the_corpus() -> anyhow::Result<()> {
    let theirs = ntc_tests::root().join("../shared/corpus/classes.csv");
    if !theirs.is_file() {
        ntc_tests::skip("the_classes_are_those_of_the_corpus", "no ../shared/corpus beside the project")?;
        return Ok(());
    }
    ensure!(fs::read(theirs)? == fs::read(ntc_tests::root().join("models/classes.csv"))?);
    Ok(())
}
