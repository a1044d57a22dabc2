//! Devices on top of others.

use anyhow::{Context as _, ensure};
use ntc_tests::{skip, wire::RawSocket};

use crate::hosts::{Hosts, of_port, question, seen, send};

/// Frames come in by `r0`, are routed by way of what stands on it, and leave by `r1`, both captured.
fn routed(test: &str, upper: &[&str], tag: Option<u16>, captured: &[&str]) -> anyhow::Result<()> {
    const FRAMES: usize = 10;
    let hosts = Hosts::new(test)?;
    hosts.near.veth("r0", &hosts.far, "s0")?;
    hosts.near.veth("r1", &hosts.far, "s1")?;
    if !hosts.near.device(upper)? {
        return Ok(skip("hooks::stacked", &format!("this kernel has no devices of type {upper:?}"))?);
    }
    if upper.contains(&"bridge") {
        hosts.near.ip(&["link", "set", "r0", "master", "up0"])?;
    }
    if upper.contains(&"bond") {
        hosts.near.ip(&["link", "set", "r0", "down"])?;
        hosts.near.ip(&["link", "set", "r0", "master", "up0"])?;
    }
    hosts.near.ip(&["link", "set", "up0", "up"])?;
    hosts.near.ip(&["address", "add", "192.0.2.1/24", "dev", "up0"])?;
    hosts.near.ip(&["address", "add", "198.51.100.1/24", "dev", "r1"])?;
    let neighbour = ["neighbour", "add", "198.51.100.10", "lladdr", "02:00:00:00:00:03", "dev", "r1"];
    hosts.near.ip(&neighbour)?;
    hosts.near.enter(|| Ok(std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")?))?;
    let mut agent = hosts.agent(captured)?;
    hosts.far.enter(|| {
        let socket = RawSocket::open("s0")?;
        let mut bytes = question(41_011)?.bytes();
        if let Some(tag) = tag {
            bytes.splice(12..12, [&[0x81, 0x00], &tag.to_be_bytes()[..]].concat());
        }
        (0..FRAMES).try_for_each(|_| socket.send(&bytes))?;
        Ok(())
    })?;
    agent.until(of_port(41_011))?;
    let events = agent.stop()?;
    let summary = events.last().context("no summary")?;
    // All went in and out by the programs, and each was accounted once.
    ensure!(
        summary["enforcement"]["egress"].as_u64() >= Some(FRAMES as u64),
        "{test}: not routed: {summary}"
    );
    ensure!(seen(&events)? == FRAMES as u64, "{test}: {summary}");
    Ok(())
}

#[test]
fn what_stands_on_a_captured_device_accounts_nothing_again() -> anyhow::Result<()> {
    let both = ["--iface", "r0", "--iface", "r1"];
    let bridge = ["up0", "address", "02:00:00:00:00:02", "type", "bridge"];
    routed("on-bridge", &bridge, None, &both)?;
    let macvlan = ["link", "r0", "up0", "address", "02:00:00:00:00:02", "type", "macvlan"];
    routed("on-macvlan", &macvlan, None, &both)?;
    let vlan = ["link", "r0", "up0", "address", "02:00:00:00:00:02", "type", "vlan", "id", "5"];
    routed("on-vlan", &vlan, Some(5), &both)?;
    let bond = ["up0", "address", "02:00:00:00:00:02", "type", "bond", "mode", "active-backup"];
    routed("on-bond", &bond, None, &both)
}

#[test]
fn a_stack_that_is_asked_for_as_a_whole_accounts_below() -> anyhow::Result<()> {
    let all = ["--iface", "r0", "--iface", "r1", "--iface", "up0"];
    let bridge = ["up0", "address", "02:00:00:00:00:02", "type", "bridge"];
    routed("bridge-and-port", &bridge, None, &all)?;
    // As a pattern has it, loopback not among them.
    routed("bridge-by-pattern", &bridge, None, &["--iface", "*"])
}

#[test]
fn a_bridge_with_two_captured_ports_accounts_each_packet_once() -> anyhow::Result<()> {
    let hosts = Hosts::new("bridged")?;
    hosts.near.veth("r0", &hosts.far, "s0")?;
    hosts.near.veth("r1", &hosts.far, "s1")?;
    hosts.near.ip(&["link", "add", "br0", "type", "bridge"])?;
    hosts.near.ip(&["link", "set", "br0", "up"])?;
    for port in ["r0", "r1"] {
        hosts.near.ip(&["link", "set", port, "master", "br0"])?;
    }
    let mut agent = hosts.agent(&["--iface", "r0", "--iface", "r1"])?;
    let question = question(41_012)?;
    send(&hosts.far, "s0", std::slice::from_ref(&question))?;
    send(&hosts.far, "s1", &[question.reply(120)])?;
    let label = agent.until(|event| of_port(41_012)(event) && event["packets"] == 2)?;
    ensure!(label["dst_port"] == 53, "{label}");
    let events = agent.stop()?;
    let summary = events.last().context("no summary")?;
    ensure!(summary["enforcement"]["egress"].as_u64() >= Some(2), "they were not bridged: {summary}");
    ensure!(seen(&events)? == 2, "{summary}");
    Ok(())
}
