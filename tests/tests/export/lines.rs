//! JSON lines.

use std::{collections::BTreeSet, fs};

use anyhow::{Context as _, ensure};
use ntc_tests::link::{Link, of_port};
use serde_json::Value;

use crate::{export, until};

#[test]
fn a_file_that_is_moved_away_loses_no_line_and_changes_are_those_of_the_api() -> anyhow::Result<()> {
    let link = Link::new("export-lines")?;
    let folder = tempfile::tempdir()?;
    let (path, old) = (folder.path().join("flows.jsonl"), folder.path().join("flows.jsonl.1"));
    let mut agent = link.agent(&["--export", &format!("file://{}", path.display())])?;
    link.first_packets(41_001, 5)?;
    agent.until(of_port(41_001))?;
    until("the first line", || {
        Ok(fs::read_to_string(&path).is_ok_and(|text| !text.is_empty()).then_some(()))
    })?;
    fs::rename(&path, &old)?;
    link.exchange(41_002)?;
    let of = |line: &Value| (line["event"].clone(), line["flow"]["src_port"].clone());
    let lines = || -> anyhow::Result<Vec<Value>> {
        let text = fs::read_to_string(&old)? + &fs::read_to_string(&path).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
    };
    let lines = until("the second flow's end", || {
        let lines = lines()?;
        Ok(lines.iter().any(|line| of(line) == ("ended".into(), 41_002.into())).then_some(lines))
    })?;
    let heads: Vec<_> = lines.iter().map(of).collect();
    ensure!(heads.contains(&("new".into(), 41_001.into())) && heads.contains(&("new".into(), 41_002.into())));
    let ids: BTreeSet<_> = lines.iter().filter_map(|line| line["id"].as_str()).collect();
    ensure!(ids.len() == lines.len(), "each change once: {ids:?}");
    let flow = &lines[0]["flow"];
    ensure!(flow["service"].is_string() && flow["confidence"].is_number(), "{flow}");
    ensure!(lines[0]["host"].as_str().is_some_and(|host| !host.is_empty()), "{}", lines[0]);

    let export = export(&link)?;
    ensure!(export["connected"] == true && export["lost"] == 0, "{export}");
    ensure!(export["sent"].as_u64() >= Some(lines.len() as u64), "{export}");
    agent.stop()?;
    Ok(())
}

#[test]
fn the_log_is_json_or_for_the_journal_where_it_is_asked_for() -> anyhow::Result<()> {
    let link = Link::new("export-log")?;
    // Nobody listens there: a warning.
    let options = ["--iface", "r0", "--export", "ipfix+tcp://127.0.0.1:9", "--duration", "2", "--log-format"];
    let said = |format: &str| -> anyhow::Result<String> {
        let words = [&options[..], &[format]].concat();
        let output =
            ntc_tests::agent::Agent::command(&link.agent_side, &link.pins.0, &[], &words)?.output()?;
        ensure!(output.status.success());
        Ok(String::from_utf8(output.stderr)?)
    };
    for line in said("json")?.lines() {
        let line: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        ensure!(line["level"] == "WARN" && line["message"].is_string(), "{line}");
        ensure!(line["to"] == "ipfix+tcp://127.0.0.1:9", "{line}");
    }
    let journal = said("journal")?;
    ensure!(journal.starts_with("<4> WARN") || journal.starts_with("<4>WARN"), "{journal}");
    Ok(())
}

#[test]
fn mistakes_in_the_url_are_told_at_the_start() -> anyhow::Result<()> {
    let link = Link::new("export-mistake")?;
    let mut refused = ntc_tests::agent::Agent::command(
        &link.agent_side,
        &link.pins.0,
        &[],
        &["--iface", "r0", "--export", "kafka://broker"],
    )?;
    let refused = refused.output()?;
    let said = String::from_utf8_lossy(&refused.stderr);
    ensure!(refused.status.code() == Some(2) && said.contains("ipfix+udp://HOST"), "{said}");
    Ok(())
}
