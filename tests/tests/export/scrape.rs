//! Metrics, by Prometheus itself.

use std::process::Stdio;

use anyhow::ensure;
use ntc_tests::{
    http::Asker,
    link::{Link, of_port, text},
    running::Running,
    unpacked::COLLECTORS,
};
use serde_json::Value;

use crate::until;

#[test]
fn prometheus_scrapes_what_promtool_finds_nothing_wrong_with() -> anyhow::Result<()> {
    if !COLLECTORS.at_hand("prometheus_scrapes_what_promtool_finds_nothing_wrong_with")? {
        return Ok(());
    }
    let link = Link::new("export-scrape")?;
    let folder = tempfile::tempdir()?;
    let mut agent = link.agent(&["--api-listen", "127.0.0.1:8080"])?;
    link.exchange(41_001)?;
    agent.until(of_port(41_001))?;
    let config = folder.path().join("prometheus.yml");
    let scrape = "scrape_configs:\n- job_name: ntc\n  scrape_interval: 1s\n  static_configs:\n  - targets: [127.0.0.1:8080]\n";
    std::fs::write(&config, scrape)?;
    let prometheus = COLLECTORS
        .inside(&link.agent_side, "prometheus")
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
        .args(["--web.listen-address=127.0.0.1:9090", "--log.level=error"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let _prometheus = Running(prometheus);
    let ask = Asker::inside(&link.agent_side, &[]);
    let query = |what: &str| -> anyhow::Result<Option<Value>> {
        // It may be starting yet.
        let Ok(answer) = ask.get(&format!("http://127.0.0.1:9090/api/v1/query?query={what}")) else {
            return Ok(None);
        };
        Ok(answer["data"]["result"].get(0).map(|sample| sample["value"][1].clone()))
    };
    until("a scrape", || Ok((query("up{job=\"ntc\"}")? == Some("1".into())).then_some(())))?;
    until("the exchange", || Ok((query("ntc_packets_seen_total")? == Some("8".into())).then_some(())))?;
    ensure!(query("ntc_label_age_seconds_count")? == Some("1".into()), "the histogram");
    // One question, which the model answered alone, in more than no time and less than the time that a test has.
    let alone = "{batch=\"1\"}";
    let calls = query(&format!("ntc_inference_seconds_count{alone}"))?;
    ensure!(calls.as_ref().is_some_and(|calls| calls != "0"), "{calls:?} calls of the model");
    let seconds =
        query(&format!("ntc_inference_seconds_sum{alone}"))?.and_then(|sum| sum.as_str()?.parse().ok());
    ensure!(seconds.is_some_and(|seconds: f64| seconds > 0.0 && seconds < 10.0), "{seconds:?} s");
    let le = query("histogram_quantile(0.99,sum%20by%20(le)%20(ntc_inference_seconds_bucket))")?;
    ensure!(le.is_some_and(|le| le != "NaN"), "buckets");
    ensure!(
        query("sum(ntc_labels_total)")? == query("ntc_label_confidence_count")?,
        "a service of each label"
    );
    ensure!(query("ntc_map_entries<=ntc_map_capacity")?.is_some(), "room");
    for metric in ["ntc_ready", "ntc_model_epoch", "ntc_agent_info"] {
        ensure!(query(metric)?.is_some(), "no {metric}");
    }
    // The ledger by its stages: what was seen went one way.
    let closes = query("sum(ntc_packets_total)==scalar(ntc_packets_seen_total)")?;
    ensure!(closes.is_some(), "the ledger of /metrics does not close");

    let file = folder.path().join("metrics");
    std::fs::write(&file, Asker::unix(&link).ask("/metrics", &[])?.body)?;
    let checked =
        COLLECTORS.here("promtool").args(["check", "metrics"]).stdin(std::fs::File::open(&file)?).output()?;
    ensure!(checked.status.success() && text(&checked).trim().is_empty(), "{}", text(&checked));
    agent.stop()?;
    Ok(())
}
