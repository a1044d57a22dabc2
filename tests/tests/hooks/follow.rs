//! Interfaces that come, go and change.

use anyhow::{Context as _, ensure};
use ntc_tests::kernel::has_tcx;

use crate::hosts::{Hosts, filters, of_interface, of_port, seen, tcx_programs, text};

#[test]
fn an_interface_that_goes_and_comes_back_is_attached_again() -> anyhow::Result<()> {
    let hosts = Hosts::linked("flap")?;
    let mut agent = hosts.agent(&["--iface", "r0"])?;
    hosts.near.ip(&["link", "set", "r0", "down"])?;
    hosts.near.ip(&["link", "set", "r0", "up"])?;
    hosts.exchange(41_007)?;
    agent.until(of_port(41_007)).context("after a flap")?;

    hosts.near.ip(&["link", "del", "r0"])?;
    let gone = agent.until(of_interface("detached", "r0"))?;
    hosts.near.veth("r0", &hosts.far, "s0")?;
    let back = agent.until(of_interface("attached", "r0"))?;
    ensure!(back["index"] != gone["index"] && back["capture"] == "native XDP", "{back}");
    hosts.exchange(41_008)?;
    agent.until(of_port(41_008)).context("after it came back")?;

    // Programs stay on the interface, and its new name is told.
    hosts.near.ip(&["link", "set", "r0", "name", "x0"])?;
    let renamed = agent.until(of_interface("renamed", "x0"))?;
    ensure!(renamed["was"] == "r0" && renamed["index"] == back["index"], "{renamed}");
    hosts.exchange(41_009)?;
    agent.until(of_port(41_009)).context("under another name")?;
    // Whoever bears the old name now is asked for, too.
    hosts.near.veth("r0", &hosts.far, "s1")?;
    agent.until(of_interface("attached", "r0"))?;
    ensure!(seen(&agent.stop()?)? == 6);
    for interface in ["x0", "r0"] {
        let shown = hosts.near.output("ip", &["-d", "link", "show", "dev", interface])?;
        ensure!(!shown.contains("prog/xdp"), "{shown}");
        if has_tcx()? {
            ensure!(tcx_programs(&hosts, interface)?.concat().is_empty());
        }
        ensure!(filters(&hosts, interface)? == (0, 0));
    }
    Ok(())
}

#[test]
fn interfaces_that_stay_by_pins_go_and_come_too() -> anyhow::Result<()> {
    let hosts = Hosts::linked("flap-stay")?;
    let mut agent = hosts.agent(&["--iface", "r0", "--stay"])?;
    let pins = || {
        std::fs::read_dir(&hosts.pins.0).map(|all| {
            all.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with("link_")).count()
        })
    };
    // Before TCX only the XDP program hangs by a link: filters stay by themselves.
    let all = if has_tcx()? { 3 } else { 1 };
    ensure!(pins()? == all);
    hosts.near.ip(&["link", "del", "r0"])?;
    agent.until(of_interface("detached", "r0"))?;
    ensure!(pins()? == 0, "pins of an interface that has gone");
    hosts.near.veth("r0", &hosts.far, "s0")?;
    agent.until(of_interface("attached", "r0"))?;
    agent.stop()?;
    ensure!(pins()? == all);
    ensure!(hosts.ntc(&["detach"])?.status.success() && !hosts.pins.0.exists());
    Ok(())
}

#[test]
fn interfaces_may_come_later() -> anyhow::Result<()> {
    let hosts = Hosts::new("later")?;
    // By pattern without a word, by name only if told.
    let missing = hosts.ntc(&["run", "--iface", "r0"])?;
    ensure!(text(&missing).contains("interface r0: there is none of that name"), "{}", text(&missing));
    ensure!(text(&missing).contains("--wait-for-interfaces"), "{}", text(&missing));
    let mut agent = hosts.agent(&["--iface", "ppp*", "--iface", "r0", "--wait-for-interfaces"])?;
    ensure!(agent.ready["hooks"].as_array().is_some_and(Vec::is_empty), "{}", agent.ready);
    hosts.near.veth("ppp7", &hosts.far, "s7")?;
    agent.until(of_interface("attached", "ppp7"))?;
    hosts.near.veth("r0", &hosts.far, "s0")?;
    agent.until(of_interface("attached", "r0"))?;
    hosts.near.veth("r1", &hosts.far, "s1")?;
    hosts.exchange(41_010)?;
    agent.until(of_port(41_010))?;
    let events = agent.stop()?;
    ensure!(!events.iter().any(of_interface("attached", "r1")), "r1 is nobody's");
    Ok(())
}
