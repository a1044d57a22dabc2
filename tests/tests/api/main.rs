//! The query interface: real HTTP to a real agent on live traffic.

mod contract;
mod events;
mod hostile;
mod interface;
mod metrics;
mod page;
mod policy;
mod roles;
mod top;

use std::thread;

use anyhow::{Context as _, ensure};
use ntc_tests::{
    http::Asker,
    link::{Link, of_port},
};
use ntc_user::api::listen::socket_of;
use serde_json::{Value, json};

/// Where a test's agent is asked for the flow of a port.
pub(crate) fn flow_of(port: u16) -> String {
    format!("/v1/flows?port={port}")
}

#[test]
fn every_endpoint_answers_about_live_traffic() -> anyhow::Result<()> {
    let link = Link::new("api-all")?;
    let mut agent = link.agent(&[])?;
    let ask = Asker::unix(&link);
    link.first_packets(41_001, 5)?;
    let label = agent.until(|event| of_port(41_001)(event) && event["packets"] == 5)?;

    ensure!(ask.ask("/healthz", &[])?.body == "ok\n" && ask.ask("/readyz", &[])?.body == "ready\n");
    let page =
        ask.until(&flow_of(41_001), |page| (page["flows"][0]["packets"] == 5).then(|| page.clone()))?;
    let flow = &page["flows"][0];
    ensure!(page["total"] == 1 && page["next"].is_null(), "{page}");
    for field in ["src_ip", "dst_ip", "dst_port", "proto", "service", "class"] {
        ensure!(flow[field] == label[field], "{field}: {flow} {label}");
    }
    ensure!(
        flow["packets"] == 5 && flow["packets_sent"] == 3 && flow["label_packets"] == label["packets"],
        "{flow}"
    );

    let there = "src_ip=192.0.2.10&dst_ip=198.51.100.10&src_port=41001&dst_port=80&proto=tcp";
    let back = "src_ip=198.51.100.10&dst_ip=192.0.2.10&src_port=80&dst_port=41001&proto=tcp";
    let lookup = |query: &str| ask.get(&format!("/v1/flows/lookup?{query}&match=openflow13"));
    let (there, back) = (lookup(there)?, lookup(back)?);
    ensure!(there["status"] == "labelled" && there["direction"] == "forward", "{there}");
    ensure!(there["flow"]["first_ts_ns"] == flow["first_ts_ns"], "its name: {there} {flow}");
    ensure!(back["direction"] == "backward" && back["flow"]["src_port"] == 41_001, "{back}");
    ensure!(back["match"][0]["tcp_src"] == 80 && back["match"][1]["tcp_src"] == 41_001, "{back}");
    let tuple = |port: u16| json!({"src_ip": "192.0.2.10", "dst_ip": "198.51.100.10", "src_port": port, "dst_port": 80, "proto": "tcp"});
    let batch = json!({"flows": [tuple(41_001), tuple(9)]}).to_string();
    let json_body = ["--header", "Content-Type: application/json", "--data", &batch];
    let many = ask.ask("/v1/flows/lookup", &json_body)?.json()?;
    ensure!(many["flows"][0]["status"] == "labelled" && many["flows"][1]["status"] == "not_found", "{many}");

    let counted = |stats: &Value| {
        let [seen, labelled, now] = [&stats["ledger"]["seen"], &stats["labelled"], &stats["labelled_now"]];
        let taken = &stats["table_flows"];
        (*seen == 5 && *labelled == 1 && *now == 1 && *taken == 1).then(|| stats.clone())
    };
    let stats = ask.until("/v1/stats", counted)?;
    ensure!(stats["ledger"]["closes"] == true, "{stats}");
    let services = ask.get("/v1/services")?;
    let of_label = |service: &&Value| service["name"] == label["service"];
    let service = services.as_array().context("no list")?.iter().find(of_label).context("its service")?;
    ensure!(service["flows"] == 1 && service["id"] == flow["service_id"], "{service}");
    let classes = ask.get("/v1/classes")?;
    let of_label = |class: &&Value| class["name"] == label["class"];
    let class = classes.as_array().context("no list")?.iter().find(of_label).context("its class")?;
    ensure!(class["flows"] == 1, "{class}");
    ensure!(classes[2]["policy"]["dscp"] == "AF21", "{classes}");

    let model = ask.get("/v1/model")?;
    ensure!(
        model["epoch"] == flow["model_epoch"] && model["labels"].as_array().is_some_and(|l| l.len() > 10),
        "{model}"
    );
    let this = ask.get("/v1/agent")?;
    ensure!(this["ready"] == true && this["interfaces"][0]["interface"] == "r0", "{this}");
    ensure!(this["version"] == env!("CARGO_PKG_VERSION"), "{this}");
    let open =
        ["--header", "Accept: application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.3"];
    let metrics = ask.ask("/metrics", &open)?;
    for line in [
        "ntc_packets_seen_total 5",
        "ntc_labelled_flows 1",
        "ntc_map_entries{name=\"labels\"} 1",
        "ntc_ready 1",
        "# EOF",
    ] {
        ensure!(metrics.body.lines().any(|found| found == line), "no {line:?} in {}", metrics.body);
    }
    let page = ask.ask("/", &[])?;
    ensure!(
        page.header("content-security-policy").is_some_and(|policy| policy.starts_with("default-src 'none'"))
    );
    ensure!(page.body.contains("page.js") && ask.ask("/page.js", &[])?.status == 200);
    let policy = ask.ask("/v1/policy", &[])?;
    let tag = format!("If-Match: {}", policy.header("etag").context("no ETag")?);
    ensure!(policy.header("allow") == Some("GET, HEAD, PUT"), "root may change it: {policy:?}");
    let put = ["--request", "PUT", "--header", "Content-Type: application/json", "--header", &tag];
    ensure!(ask.ask("/v1/policy", &[&put[..], &["--data", &policy.body]].concat())?.status == 200);
    let reloaded = ask.ask("/v1/reload", &["--request", "POST"])?;
    ensure!(reloaded.status == 200, "{reloaded:?}");
    let stream = ask.follow("/v1/events", &[])?;
    ensure!(stream.until(|_| true)?.data["src_port"] == 41_001, "a snapshot of the one flow");

    let document = ask.get("/openapi.json")?;
    let version = &document["openapi"];
    ensure!(version.as_str().is_some_and(|version| version.starts_with("3.1")), "{version}");
    let answered = ask.answered();
    for (path, operations) in document["paths"].as_object().context("no paths")? {
        for method in operations.as_object().context("no operations")?.keys() {
            let operation = format!("{} {path}", method.to_uppercase());
            ensure!(answered.contains(&operation), "this test does not ask for {operation}");
        }
    }

    agent.stop()?;
    ensure!(!socket_of(&link.pins.0).exists(), "the socket goes with the agent");
    Ok(())
}

#[test]
fn pages_have_each_flow_once_whatever_comes_and_goes() -> anyhow::Result<()> {
    let link = Link::new("api-pages")?;
    let mut agent = link.agent(&[])?;
    let ask = Asker::unix(&link);
    let ports = 42_001..42_010;
    for port in ports.clone() {
        link.first_packets(port, 5)?;
        agent.until(of_port(port))?;
    }
    ask.until("/v1/flows", |page| (page["total"] == 9).then_some(()))?;
    let (mut seen, mut cursor, mut added) = (Vec::new(), String::new(), 0);
    loop {
        let page = ask.get(&format!("/v1/flows?limit=2{cursor}"))?;
        let flows = page["flows"].as_array().context("no list")?;
        seen.extend(flows.iter().filter_map(|flow| flow["src_port"].as_u64()));
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
        // A flow that comes meanwhile may be on a later page or not; it moves no other.
        added += 1;
        link.first_packets(43_000 + added as u16, 5)?;
    }
    let mut old: Vec<u64> = seen.iter().copied().filter(|port| *port < 43_000).collect();
    old.sort_unstable();
    ensure!(old == ports.map(u64::from).collect::<Vec<_>>(), "{seen:?}");

    // All that came are labelled before they are counted by what they are.
    let total = old.len() + added;
    ask.until("/v1/flows", |page| (page["total"] == total).then_some(()))?;
    let count = |query: &str| -> anyhow::Result<usize> {
        Ok(ask.get(&format!("/v1/flows?limit=1000&{query}"))?["flows"].as_array().context("no list")?.len())
    };
    ensure!(count("port=42003")? == 1 && count("port=42003&proto=udp")? == 0);
    ensure!(count("prefix=192.0.2.0/24")? >= 9 && count("prefix=203.0.113.0/24")? == 0);
    ensure!(count("prefix=198.51.100.10&max_age_s=3600")? >= 9 && count("min_age_s=3600")? == 0);
    ensure!(count("stage=provisional")? + count("stage=final")? == count("")?);
    ensure!(count("max_confidence=0")? == 0);
    ensure!(count("interface=r0")? == count("")?);
    let fastest = ask.get("/v1/flows?order=bytes&limit=3")?;
    ensure!(fastest["flows"].as_array().is_some_and(|flows| flows.len() == 3) && fastest["next"].is_null());
    agent.stop()?;
    Ok(())
}

#[test]
fn labels_that_give_way_do_not_pile_up() -> anyhow::Result<()> {
    let link = Link::new("api-crowd")?;
    let agent = link.agent(&["--max-flows", "64"])?;
    let ask = Asker::unix(&link);
    let most = thread::scope(|scope| {
        // Closed flows: each is asked about at once, and its label soon gives way to another's.
        let sender = scope.spawn(|| (44_001..45_001).try_for_each(|port| link.first_packets(port, 8)));
        let mut most = 0;
        while !sender.is_finished() {
            most = most.max(ask.get("/v1/flows?limit=1")?["total"].as_u64().context("no total")?);
        }
        sender.join().map_err(|_| anyhow::anyhow!("the sender died"))??;
        anyhow::Ok(most)
    })?;
    // A quarter more than the map's places, and the one that shows it.
    ensure!((16..=64 + 64 / 4 + 1).contains(&most), "{most} flows of a map with 64 places");
    agent.stop()?;
    Ok(())
}

#[test]
fn a_socket_in_use_is_left_alone_and_one_left_behind_gives_way() -> anyhow::Result<()> {
    let link = Link::new("api-socket")?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("api.sock");
    let name = path.display().to_string();
    drop(std::os::unix::net::UnixListener::bind(&path)?);
    let agent = link.agent(&["--api-socket", &name, "--api-socket-mode", "600"])?;
    let ask = Asker::socket(&path);
    ensure!(ask.get("/v1/agent")?["ready"] == true);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path)?.permissions());
    ensure!(mode & 0o777 == 0o600, "{mode:o}");
    let mut second = ntc_tests::agent::Agent::command(
        &link.agent_side,
        &link.pins.0.with_extension("second"),
        &[],
        &["--iface", "r0", "--api-socket", &name],
    )?;
    let second = second.output()?;
    let said = String::from_utf8_lossy(&second.stderr);
    ensure!(second.status.code() == Some(1) && said.contains("somebody listens there"), "{said}");
    agent.stop()?;
    ensure!(!path.exists());
    std::fs::write(&path, "not a socket")?;
    let refused = ntc_tests::agent::Agent::command(
        &link.agent_side,
        &link.pins.0,
        &[],
        &["--iface", "r0", "--api-socket", &name],
    )?
    .output()?;
    ensure!(refused.status.code() == Some(1) && std::fs::read_to_string(&path)? == "not a socket");
    Ok(())
}
