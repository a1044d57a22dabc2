//! `ntc extract` and `ntc classify` on files as users have them.

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Output, Stdio},
};

use anyhow::{Context as _, ensure};
use ntc_tests::{
    agent::binary,
    frames::{Frame, write_pcap},
};
use serde_json::Value;

/// A DNS question with its answer, and a TCP connection that is reset; times in ns.
fn capture() -> anyhow::Result<Vec<(u64, Vec<u8>)>> {
    let (a, b) = (("192.0.2.1".parse()?, 5353), ("198.51.100.1".parse()?, 53));
    let (c, d) = (("2001:db8::1".parse()?, 40_000), ("2001:db8::2".parse()?, 443));
    let question = Frame::udp(a, b, 40);
    let syn = Frame::tcp(c, d, 0x02, 0);
    let second = 1_000_000_000;
    Ok(vec![
        (second, question.bytes()),
        (second + 5_000_000, question.reply(120).bytes()),
        (2 * second, syn.bytes()),
        (2 * second + 1_000, Frame { tcp: Some(0x14), ..syn.reply(0) }.bytes()),
    ])
}

fn ntc(arguments: &[&str]) -> anyhow::Result<Command> {
    let mut command = Command::new(binary()?);
    command
        .args(arguments)
        .env("ORT_DYLIB_PATH", ntc_tests::root().join(".tools/onnxruntime/libonnxruntime.so"));
    Ok(command)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn rows(output: &Output) -> anyhow::Result<Vec<Value>> {
    String::from_utf8_lossy(&output.stdout).lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// All but what the model says, which is tested where models are.
fn without_answers(mut rows: Vec<Value>) -> Vec<Value> {
    for row in &mut rows {
        if let Some(row) = row.as_object_mut() {
            for answer in ["service", "protocol", "class", "confidence", "model", "capture"] {
                row.remove(answer);
            }
        }
    }
    rows
}

fn golden() -> Vec<Value> {
    vec![
        serde_json::json!({
            "src_ip": "192.0.2.1", "dst_ip": "198.51.100.1", "src_port": 5353, "dst_port": 53, "proto": "udp",
            "ip_version": 4, "vlan": null, "first_ts_ns": 1_000_000_000u64, "last_ts_ns": 1_005_000_000u64,
            "packets": 2, "bytes": 216, "end": "eof", "seq_len": 2, "stage": "final",
        }),
        serde_json::json!({
            "src_ip": "2001:db8::1", "dst_ip": "2001:db8::2", "src_port": 40_000, "dst_port": 443, "proto": "tcp",
            "ip_version": 6, "vlan": null, "first_ts_ns": 2_000_000_000u64, "last_ts_ns": 2_000_001_000u64,
            "packets": 2, "bytes": 120, "end": "rst", "seq_len": 2, "stage": "final",
        }),
    ]
}

#[test]
fn plain_packed_and_piped_captures_give_the_same_flows() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let plain = folder.path().join("a.pcap");
    write_pcap(&plain, &capture()?)?;
    let bytes = fs::read(&plain)?;
    fs::write(folder.path().join("b.pcap.zst"), zstd::encode_all(&bytes[..], 3)?)?;

    let output = ntc(&["classify", "--format", "json"])?.arg(&plain).output()?;
    ensure!(output.status.success(), "{}", said(&output));
    ensure!(without_answers(rows(&output)?) == golden(), "{:?}", rows(&output)?);
    ensure!(said(&output).contains("2 flows of 4 packets in 1 file"), "{}", said(&output));

    // A folder: equal 5-tuples of two files are two flows.
    let output = ntc(&["classify", "--format", "json"])?.arg(folder.path()).output()?;
    let all = rows(&output)?;
    ensure!(all.len() == 4 && all[0]["capture"] == "a.pcap" && all[2]["capture"] == "b.pcap.zst", "{all:?}");
    ensure!(without_answers(all[2..].to_vec()) == golden());

    let mut piped = ntc(&["classify", "--format", "json", "-"])?
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    piped.stdin.take().context("stdin")?.write_all(&bytes)?;
    ensure!(without_answers(rows(&piped.wait_with_output()?)?) == golden());
    Ok(())
}

#[test]
fn every_format_has_every_flow() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("a.pcap");
    write_pcap(&file, &capture()?)?;
    let csv = ntc(&["classify", "--format", "csv"])?.arg(&file).output()?;
    let mut reader = csv::Reader::from_reader(&csv.stdout[..]);
    let columns = reader.headers()?.len();
    let records: Vec<_> = reader.records().collect::<Result<_, _>>()?;
    ensure!(records.len() == 2 && records.iter().all(|record| record.len() == columns));
    let table = ntc(&["classify"])?.arg(&file).output()?;
    ensure!(String::from_utf8_lossy(&table.stdout).lines().count() == 3);
    for (verb, name) in [("extract", "x.parquet"), ("classify", "y.parquet")] {
        let out = folder.path().join(name);
        let mut command = ntc(&[verb])?;
        if verb == "classify" {
            command.args(["--format", "parquet"]);
        }
        let output = command.arg(&file).arg("-o").arg(&out).output()?;
        ensure!(output.status.success(), "{}", said(&output));
        let bytes = fs::read(&out)?;
        ensure!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"));
    }
    Ok(())
}

#[test]
fn a_damaged_file_costs_its_own_rest_only() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (whole, cut) = (folder.path().join("b.pcap"), folder.path().join("a.pcap"));
    write_pcap(&whole, &capture()?)?;
    let bytes = fs::read(&whole)?;
    fs::write(&cut, &bytes[..bytes.len() - 10])?;
    fs::write(folder.path().join("c.pcap"), b"no capture at all, but long enough to be looked at")?;
    let output = ntc(&["classify", "--format", "json"])?.arg(folder.path()).output()?;
    ensure!(output.status.code() == Some(3), "{}", said(&output));
    // Of the cut file the last packet is missing, and with it the reset.
    let all = rows(&output)?;
    ensure!(all.len() == 4 && all[1]["end"] == "eof" && all[3]["end"] == "rst", "{all:?}");
    ensure!(said(&output).contains("a.pcap") && said(&output).contains("c.pcap"), "{}", said(&output));
    ensure!(said(&output).contains("2 of 3 files could not be read to their end"), "{}", said(&output));

    let missing = ntc(&["extract", "/nonexistent.pcap", "-o"])?.arg(folder.path().join("o")).output()?;
    ensure!(
        missing.status.code() == Some(1) && said(&missing).contains("/nonexistent.pcap"),
        "{}",
        said(&missing)
    );
    ensure!(!Path::new(&folder.path().join("o")).exists(), "no empty output for nothing");
    Ok(())
}
