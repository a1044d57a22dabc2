//! Another configuration without losing a flow, and one agent after the other.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, ensure};
use ntc_tests::{agent::binary, http::Asker, patience::until};
use rustix::process::Signal;
use serde_json::Value;

use crate::link::{Link, of_port, text, with_runtime};

/// A policy whose only class drops nothing and says which one it is.
fn policy(path: &Path, dscp: &str) -> anyhow::Result<()> {
    Ok(fs::write(path, format!("[class.management]\nprotocols = [\"DNS\"]\ndscp = \"{dscp}\"\n"))?)
}

#[test]
fn a_changed_configuration_is_taken_over_and_no_flow_is_lost() -> anyhow::Result<()> {
    let (link, folder) = (Link::new("reload")?, tempfile::tempdir()?);
    let (file, rules) = (folder.path().join("ntc.toml"), folder.path().join("policy.toml"));
    policy(&rules, "CS2")?;
    let write = |more: &str| -> anyhow::Result<()> {
        Ok(fs::write(&file, format!("policy = {:?}\npause-ms = 50\n{more}", rules.display().to_string()))?)
    };
    write("")?;
    let config = file.display().to_string();
    let mut agent = link.agent(&["--config", &config])?;
    link.first_packets(40_070, 5)?;
    agent.until(of_port(40_070))?;
    let shown =
        |what: &str| -> anyhow::Result<bool> { Ok(text(&link.ntc(&["policy", "show"])?).contains(what)) };
    ensure!(shown("CS2")?);

    policy(&rules, "AF41")?;
    agent.signal(Signal::HUP)?;
    until("the changed policy", Duration::from_secs(10), || Ok(shown("AF41")?.then_some(())))?;
    // What another put in its place stays until the file says something new.
    let other = folder.path().join("other.toml");
    policy(&other, "EF")?;
    let applied = link.ntc(&["policy", "apply", &other.display().to_string()])?;
    ensure!(applied.status.success(), "{}", text(&applied));
    let ask = Asker::unix(&link);
    let reload = || -> anyhow::Result<Value> { ask.ask("/v1/reload", &["--request", "POST"])?.json() };
    let nothing = reload()?;
    ensure!(
        nothing["taken"] == serde_json::json!([]) && nothing["restart"] == serde_json::json!([]),
        "{nothing}"
    );
    ensure!(shown("EF")?);

    // What asks for another start is named, and stays as it is.
    write("dry-run = true\nmax-flows = 128\n")?;
    let told = reload()?;
    ensure!(told["taken"] == serde_json::json!(["dry-run"]), "{told}");
    ensure!(told["restart"] == serde_json::json!(["max-flows"]), "{told}");
    ensure!(ask.ask("/v1/agent", &[])?.json()?["dry_run"] == true && shown("EF")?);

    // A mistake changes nothing.
    fs::write(&rules, "[class.management]\ndscp = \"nonsense\"\n")?;
    let said = ask.ask("/v1/reload", &["--request", "POST"])?.problem(422)?;
    ensure!(said.contains("class.management.dscp"), "{said}");
    fs::write(&file, "max_flows = 128\n")?;
    let said = ask.ask("/v1/reload", &["--request", "POST"])?.problem(422)?;
    ensure!(said.contains("did you mean \"max-flows\"?"), "{said}");
    ensure!(shown("EF")?);
    ensure!(text(&link.ntc(&["flows"])?).contains(":40070"), "the flow has its label still");
    let events = agent.stop()?;
    let summary = events.last().context("no summary")?;
    ensure!(summary["flows"] == 1 && summary["ledger"]["dropped"] == 0, "{summary}");
    Ok(())
}

#[test]
fn an_agent_that_hands_over_leaves_labels_and_no_program() -> anyhow::Result<()> {
    let link = Link::new("handover")?;
    let mut agent = link.agent(&[])?;
    link.first_packets(40_071, 5)?;
    agent.until(of_port(40_071))?;
    agent.signal(Signal::USR2)?;
    ensure!(agent.wait()?.success());
    ensure!(!link.xdp_attached()? && link.pins.0.exists());
    let agent = link.agent(&["--replace-pins"])?;
    ensure!(text(&link.ntc(&["flows"])?).contains(":40071"), "the next one has its labels");
    agent.signal(Signal::USR2)?;
    ensure!(agent.wait()?.success());

    // Maps of other sizes give way where that is asked for.
    let agent = link.agent(&["--max-flows", "128", "--replace-pins"])?;
    ensure!(!text(&link.ntc(&["flows"])?).contains(":40071"), "they began anew");
    agent.stop()?;
    ensure!(!link.pins.0.exists());
    Ok(())
}

#[test]
fn the_configuration_is_checked_and_shown() -> anyhow::Result<()> {
    let (link, folder) = (Link::new("config")?, tempfile::tempdir()?);
    let file = folder.path().join("ntc.toml");
    let name = file.display().to_string();
    let ntc = |arguments: &[&str]| -> anyhow::Result<(Option<i32>, String)> {
        let mut command = link.agent_side.prepare(binary()?);
        let output = with_runtime(command.env("NTC_UDP_IDLE", "7").args(arguments)).output()?;
        Ok((output.status.code(), text(&output)))
    };
    fs::write(&file, "iface = \"br0\"\nmax_flows = 1\npause-ms = 0\npolicy = \"/nowhere\"\n")?;
    let (code, said) = ntc(&["config", "check", &name])?;
    ensure!(code == Some(1) && said.contains(":2:1: error: max_flows: no such key; did you mean"), "{said}");
    ensure!(said.contains(":3:1: error: pause-ms: invalid value '0'"), "{said}");
    fs::write(&file, "iface = \"br0\"\npolicy = \"/nowhere\"\nmodel = \"nonsense\"\n")?;
    let (code, said) = ntc(&["config", "check", &name])?;
    ensure!(
        code == Some(1) && said.contains("error: policy: policy /nowhere") && said.contains("error: model: "),
        "{said}"
    );
    fs::write(&file, "iface = [\"br0\", \"eth0\"]\ntcp-idle = 60\n")?;
    let (code, said) = ntc(&["config", "check", &name])?;
    ensure!(code == Some(0) && said.contains("usable"), "{said}");
    let (code, said) = ntc(&["config", "show", "--config", &name])?;
    let says = |line: &str, source: &str| {
        said.lines().any(|found| found.starts_with(line) && found.ends_with(source))
    };
    ensure!(code == Some(0) && says("iface = [\"br0\", \"eth0\"]", "# file"), "{said}");
    ensure!(says("tcp-idle = 60", "# file") && says("udp-idle = 7", "# NTC_UDP_IDLE"), "{said}");
    ensure!(says("pause-ms = 100", "# default") && says("#policy has no value", ""), "{said}");
    // It is a configuration file itself.
    fs::write(&file, said)?;
    ensure!(ntc(&["config", "check", &name])?.0 == Some(0));
    Ok(())
}
