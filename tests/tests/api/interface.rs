//! On which interface a flow was seen first: asked over HTTP and of the pins.

use std::net::IpAddr;

use anyhow::ensure;
use ntc_tests::{
    agent::Agent,
    frames::Frame,
    http::Asker,
    link::{Link, of_port},
    net::Namespace,
    wire::RawSocket,
};
use serde_json::Value;

#[test]
fn flows_are_told_apart_by_the_interface_that_they_came_in_by() -> anyhow::Result<()> {
    let link = Link::new("api-interface")?;
    let other = Namespace::new()?;
    link.agent_side.veth("r1", &other, "s0")?;
    let mut agent = Agent::start(&link.agent_side, &link.pins.0, &["--iface", "r0,r1"])?;
    for (host, port) in [(&link.far_side, 46_001), (&other, 46_002)] {
        ask_a_name(host, port)?;
        agent.until(of_port(port))?;
    }
    let ask = Asker::unix(&link);
    ask.until("/v1/flows", |page| (page["total"] == 2).then_some(()))?;
    for (interface, port) in [("r0", 46_001), ("r1", 46_002)] {
        let page = ask.get(&format!("/v1/flows?interface={interface}"))?;
        let seen: Vec<Value> = serde_json::from_value(page["flows"].clone())?;
        ensure!(
            seen.len() == 1 && seen[0]["src_port"] == port && seen[0]["interface"] == interface,
            "{page}"
        );
        let stream = ask.follow(&format!("/v1/events?interface={interface}"), &[])?;
        ensure!(stream.until(|event| event.name == "snapshot")?.data["src_port"] == port);
        ensure!(stream.until(|_| true)?.name == "live", "no other");

        let told = link.ntc(&["flows", "--format", "json", "--interface", interface])?;
        let lines: Vec<Value> = told
            .stdout
            .split_inclusive(|byte| *byte == b'\n')
            .map(serde_json::from_slice)
            .collect::<Result<_, _>>()?;
        ensure!(
            lines.len() == 1 && lines[0]["src_port"] == port && lines[0]["interface"] == interface,
            "{lines:?}"
        );
    }
    let nowhere = link.ntc(&["flows", "--format", "json", "--interface", "r2"])?;
    ensure!(nowhere.status.success() && nowhere.stdout.is_empty(), "{nowhere:?}");
    agent.stop()?;
    Ok(())
}

/// A question and its answer, which both come in by the same interface, as on a bridge.
fn ask_a_name(host: &Namespace, port: u16) -> anyhow::Result<()> {
    let (client, server): (IpAddr, IpAddr) = ("192.0.2.10".parse()?, "198.51.100.10".parse()?);
    let question = Frame::udp((client, port), (server, 53), 40);
    host.enter(|| {
        let socket = RawSocket::open("s0")?;
        Ok([&question, &question.reply(120)].iter().try_for_each(|frame| socket.send(&frame.bytes()))?)
    })
}
