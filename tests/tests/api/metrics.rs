//! The reference of metrics is what a running agent tells.

use std::{collections::BTreeSet, fmt::Write as _, fs, time::Duration};

use anyhow::{Context as _, ensure};
use ntc_tests::{
    http::Asker,
    link::{Link, of_port},
    patience::until,
};

const HEAD: &str = "\
# Metrics

What `/metrics` tells, for Prometheus. Written from a running agent's answer; a test compares it. Counters end with
`_total`. `name` is the label that tells those of one family apart.

| metric | kind | |
| --- | --- | --- |
";

/// `NTC_BLESS=1` writes the file anew.
#[test]
fn the_reference_lists_every_metric() -> anyhow::Result<()> {
    let (link, folder) = (Link::new("metrics")?, tempfile::tempdir()?);
    // Those of a shadow and of exports are there only with them.
    let policy = folder.path().join("policy.toml");
    fs::write(&policy, "[class.web]\nprotocols = [\"HTTP\"]\n")?;
    let export = format!("file://{}", folder.path().join("flows.jsonl").display());
    let policy = policy.display().to_string();
    let mut agent = link.agent(&["--shadow-policy", &policy, "--export", &export])?;
    link.exchange(41_090)?;
    agent.until(of_port(41_090))?;
    let ask = Asker::unix(&link);
    let text = until("metrics of the shadow", Duration::from_secs(15), || {
        let answer = ask.ask("/metrics", &[])?;
        Ok((answer.status == 200 && answer.body.contains("ntc_shadow_packets")).then_some(answer.body))
    })?;
    agent.stop()?;
    let mut lines = BTreeSet::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("# HELP ")) {
        let (name, help) = line.split_once(' ').context("no help")?;
        let kind =
            text.lines().find_map(|line| line.strip_prefix(&format!("# TYPE {name} "))).context("no type")?;
        lines.insert(format!("| `{name}` | {kind} | {help} |"));
    }
    let mut made = HEAD.to_owned();
    for line in lines {
        writeln!(made, "{line}")?;
    }
    let path = ntc_tests::root().join("docs/metrics.md");
    if std::env::var_os("NTC_BLESS").is_some() {
        fs::write(&path, &made)?;
    }
    let kept = fs::read_to_string(&path)?;
    ensure!(kept == made, "docs/metrics.md is of another version: NTC_BLESS=1 writes it anew");
    Ok(())
}
