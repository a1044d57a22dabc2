//! The table of metrics in docs/api.md has all that a running agent tells, and alerts ask for nothing else.

use std::{fs, time::Duration};

use anyhow::{Context as _, ensure};
use ntc_tests::{
    http::Asker,
    link::{Link, of_port},
    patience::until,
    root,
};

#[test]
fn the_document_has_every_metric() -> anyhow::Result<()> {
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
    let told = until("metrics of the shadow", Duration::from_secs(15), || {
        let answer = ask.ask("/metrics", &[])?;
        Ok((answer.status == 200 && answer.body.contains("ntc_shadow_packets")).then_some(answer.body))
    })?;
    agent.stop()?;
    let document = fs::read_to_string(root().join("docs/api.md"))?;
    let (_, section) = document.split_once("\n## Metrics\n").context("a section of metrics")?;
    let mut families = 0;
    for line in told.lines().filter_map(|line| line.strip_prefix("# HELP ntc_")) {
        let name = line.split(' ').next().unwrap_or_default();
        let name = name.strip_suffix("_total").unwrap_or(name);
        let named = section.contains(&format!("`{name}`")) || section.contains(&format!("`{name}{{"));
        ensure!(named, "docs/api.md does not name {name}: {line}");
        families += 1;
    }
    ensure!(families > 25, "{told}");
    let alerts = fs::read_to_string(root().join("docs/troubleshooting.md"))?;
    let words = alerts.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    for name in words.filter(|word| word.starts_with("ntc_")) {
        let there = told.lines().any(|line| line.trim_start_matches("# HELP ").starts_with(name));
        ensure!(there, "docs/troubleshooting.md asks for {name}, which the agent does not tell: {told}");
    }
    Ok(())
}
