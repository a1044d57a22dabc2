//! Which hook on which device, beside which other programs; and interfaces that come, go and change.

mod beside;
mod clsact;
mod follow;
mod hosts;
mod stack;

use std::process::Command;

use anyhow::ensure;
use ntc_tests::{agent::binary, frames::Frame, kernel::has_tcx, wire::Tun};

use hosts::{Hosts, captures, hook, of_port, question, seen, send, text};

#[test]
fn native_xdp_comes_first_also_with_jumbo_frames() -> anyhow::Result<()> {
    let hosts = Hosts::linked("native")?;
    for (namespace, interface) in [(&hosts.near, "r0"), (&hosts.far, "s0")] {
        namespace.ip(&["link", "set", interface, "mtu", "9000"])?;
    }
    let mut agent = hosts.agent(&["--iface", "r0"])?;
    let told = hook(&agent, "r0")?;
    ensure!(told["capture"] == "native XDP", "{told}");
    let (enforce, why) = if has_tcx()? { ("TCX", "from 6.6 on") } else { ("clsact", "TCX from 6.6 on only") };
    ensure!(told["enforce"] == enforce && told["why"].to_string().contains(why), "{told}");
    send(&hosts.far, "s0", &[Frame { payload: 8900, ..question(41_001)? }])?;
    let label = agent.until(of_port(41_001))?;
    ensure!(label["packets"] == 1, "{label}");
    ensure!(seen(&agent.stop()?)? == 1);
    Ok(())
}

#[test]
fn each_hook_can_be_asked_for() -> anyhow::Result<()> {
    let hosts = Hosts::linked("asked")?;
    for (asked, place) in [("native", "native XDP"), ("generic", "generic XDP"), ("tc", "tc ingress")] {
        let (capture, why) = captures(&hosts, &["--hook", asked])?;
        ensure!(capture == place && why.contains(&format!("--hook {asked}")), "{asked}: {capture}, {why}");
    }
    Ok(())
}

#[test]
fn where_native_xdp_is_refused_the_reason_is_told() -> anyhow::Result<()> {
    // A veth with fewer queues in than its peer has out takes no XDP program.
    let hosts = Hosts::new("queues")?;
    let (few, many) = (["numrxqueues", "1", "numtxqueues", "1"], ["numrxqueues", "2", "numtxqueues", "2"]);
    let (mine, theirs) = (["link", "add", "r0"], ["type", "veth", "peer", "name", "s0"]);
    hosts.near.ip(&[&mine[..], &few, &theirs, &many, &["netns", hosts.far.name()]].concat())?;
    hosts.near.ip(&["link", "set", "r0", "up"])?;
    hosts.far.ip(&["link", "set", "s0", "up"])?;
    let (capture, why) = captures(&hosts, &[])?;
    ensure!(capture == "tc ingress" && why.contains("XDP: ") && why.contains("veth"), "{capture}: {why}");

    // A bridge has no driver that could run it.
    let hosts = Hosts::new("bridge")?;
    hosts.near.veth("r1", &hosts.far, "s0")?;
    hosts.near.ip(&["link", "add", "r0", "address", "02:00:00:00:00:02", "type", "bridge"])?;
    hosts.near.ip(&["link", "set", "r0", "up"])?;
    hosts.near.ip(&["link", "set", "r1", "master", "r0"])?;
    let (capture, why) = captures(&hosts, &[])?;
    ensure!(capture == "tc ingress" && why.contains("no native XDP"), "{capture}: {why}");
    ensure!(why.contains("merged packets on a bridge"), "{why}");
    let (capture, _) = captures(&hosts, &["--hook", "generic"])?;
    ensure!(capture == "generic XDP");
    let refused = hosts.ntc(&["run", "--iface", "r0", "--hook", "native"])?;
    ensure!(refused.status.code() == Some(1), "{}", text(&refused));
    ensure!(text(&refused).contains("interface r0: cannot attach ntc_xdp"), "{}", text(&refused));
    Ok(())
}

#[test]
fn packets_without_a_link_header_are_captured_at_tc() -> anyhow::Result<()> {
    let hosts = Hosts::new("tun-hook")?;
    let mut tun = hosts.near.enter(|| Ok(Tun::new("r0")?))?;
    hosts.near.ip(&["link", "set", "r0", "up"])?;
    let mut agent = hosts.agent(&["--iface", "r0"])?;
    let told = hook(&agent, "r0")?;
    ensure!(told["capture"] == "tc ingress" && told["why"].to_string().contains("IP header"), "{told}");
    tun.receive(&question(41_002)?.bytes()[14..])?;
    agent.until(of_port(41_002))?;
    ensure!(seen(&agent.stop()?)? == 1);
    let refused = hosts.ntc(&["run", "--iface", "r0", "--hook", "generic"])?;
    ensure!(refused.status.code() == Some(1) && text(&refused).contains("--hook auto"), "{}", text(&refused));
    Ok(())
}

#[test]
fn patterns_that_are_none_are_refused() -> anyhow::Result<()> {
    let output = Command::new(binary()?).args(["run", "--iface", "a["]).output()?;
    ensure!(output.status.code() == Some(1) && text(&output).contains("interface a["), "{}", text(&output));
    Ok(())
}
