//! `ntc qdisc`: queues that fit the policy, and what was there before them.

use std::process::Command;

use anyhow::ensure;
use ntc_tests::{
    agent::{Agent, PinDir, binary},
    net::Namespace,
    skip,
};

fn ntc(namespace: &Namespace, arguments: &[&str]) -> anyhow::Result<(bool, String)> {
    let mut command: Command = namespace.prepare(binary()?);
    let output = command.env("NTC_PIN_DIR", "/sys/fs/bpf/ntc-none").arg("qdisc").args(arguments).output()?;
    Ok((output.status.success(), String::from_utf8([output.stdout, output.stderr].concat())?))
}

fn tc(namespace: &Namespace, what: &str) -> anyhow::Result<String> {
    namespace.output("tc", &[what, "show", "dev", "q0"])
}

/// A namespace with a device whose queue can be chosen.
fn device() -> anyhow::Result<Namespace> {
    let (namespace, other) = (Namespace::new()?, Namespace::new()?);
    namespace.veth("q0", &other, "q1")?;
    // The pair lives as long as either end: the other namespace is needed no more once both are here.
    other.ip(&["link", "set", "q1", "netns", namespace.name()])?;
    Ok(namespace)
}

#[test]
fn queues_are_planned_set_up_and_taken_back() -> anyhow::Result<()> {
    let namespace = device()?;
    let before = tc(&namespace, "qdisc")?;
    let request = ["--iface", "q0", "--rate", "10mbit"];
    let (fine, told) = ntc(&namespace, &[&["plan"], &request[..]].concat())?;
    ensure!(fine && told.contains("1:13") && told.contains("realtime"), "{told}");
    ensure!(tc(&namespace, "qdisc")? == before, "a plan changes nothing");

    for time in ["first", "again"] {
        let (fine, told) = ntc(&namespace, &[&["apply"], &request[..]].concat())?;
        ensure!(fine, "{time}: {told}");
        let root = tc(&namespace, "qdisc")?;
        ensure!(root.contains("qdisc htb 1: root") && root.contains("default 0x10"), "{time}: {root}");
        let classes = tc(&namespace, "class")?;
        // Trunk, ten classes, the rest.
        ensure!(classes.lines().filter(|line| line.starts_with("class htb")).count() == 12, "{classes}");
        let realtime = classes.lines().find(|line| line.contains(" 1:13 ")).unwrap_or_default();
        ensure!(realtime.contains("prio 0") && realtime.contains("rate 2500Kbit ceil 10Mbit"), "{classes}");
    }
    let (fine, told) = ntc(&namespace, &["remove", "--iface", "q0"])?;
    ensure!(fine && told.contains("as it was before"), "{told}");
    ensure!(tc(&namespace, "qdisc")? == before);
    let (fine, told) = ntc(&namespace, &["remove", "--iface", "q0"])?;
    ensure!(fine && told.contains("nothing was changed"), "{told}");
    Ok(())
}

#[test]
fn somebody_s_qdisc_gives_way_only_when_asked_and_comes_back() -> anyhow::Result<()> {
    let namespace = device()?;
    let request = ["apply", "--iface", "q0", "--rate", "10mbit"];
    let set = ["qdisc", "add", "dev", "q0", "root", "handle", "7:", "pfifo", "limit", "77"];
    if namespace.output("tc", &set).is_err() {
        skip("somebody_s_qdisc_gives_way_only_when_asked_and_comes_back", "this kernel has no pfifo")?;
        return Ok(());
    }
    let before = tc(&namespace, "qdisc")?;
    let (fine, told) = ntc(&namespace, &request)?;
    ensure!(!fine && told.contains("--replace") && told.contains("pfifo"), "{told}");
    ensure!(tc(&namespace, "qdisc")? == before, "it was not asked");
    let (fine, told) = ntc(&namespace, &[&request[..], &["--replace"]].concat())?;
    ensure!(fine, "{told}");
    ensure!(ntc(&namespace, &request)?.0, "its own it may change");
    ensure!(ntc(&namespace, &["remove", "--iface", "q0"])?.0);
    ensure!(tc(&namespace, "qdisc")? == before, "{before} is {}", tc(&namespace, "qdisc")?);

    // Classes are more than ntc could restore.
    namespace.output("tc", &["qdisc", "del", "dev", "q0", "root"])?;
    namespace.output("tc", &["qdisc", "add", "dev", "q0", "root", "handle", "9:", "htb"])?;
    namespace.output(
        "tc",
        &["class", "add", "dev", "q0", "parent", "9:", "classid", "9:1", "htb", "rate", "1mbit"],
    )?;
    let (fine, told) = ntc(&namespace, &[&request[..], &["--replace"]].concat())?;
    ensure!(!fine && told.contains("cannot restore"), "{told}");
    ensure!(tc(&namespace, "qdisc")?.contains("htb 9:"));
    Ok(())
}

#[test]
fn queues_that_the_agent_sets_up_go_with_it() -> anyhow::Result<()> {
    let namespace = device()?;
    let before = tc(&namespace, "qdisc")?;
    let pin_dir = PinDir::new("shape");
    let agent = Agent::start(&namespace, &pin_dir.0, &["--iface", "q0", "--shape", "q0=5mbit"])?;
    let during = tc(&namespace, "qdisc")?;
    ensure!(during.contains("qdisc htb 1: root"), "{during}");
    agent.stop()?;
    let after = tc(&namespace, "qdisc")?;
    ensure!(after == before, "{before} was, {after} is");
    Ok(())
}

#[test]
fn cake_is_set_up_where_the_kernel_has_it_and_somebody_s_comes_back() -> anyhow::Result<()> {
    let namespace = device()?;
    let before = tc(&namespace, "qdisc")?;
    let request = ["--iface", "q0", "--rate", "10mbit", "--cake"];
    let (fine, told) = ntc(&namespace, &[&["plan"], &request[..]].concat())?;
    ensure!(fine && told.contains("cake diffserv4 1:") && told.contains("1:4     voice"), "{told}");
    let (fine, told) = ntc(&namespace, &[&["apply"], &request[..]].concat())?;
    if !fine {
        ensure!(told.contains("this kernel has no CAKE") && tc(&namespace, "qdisc")? == before, "{told}");
        return Ok(skip(
            "cake_is_set_up_where_the_kernel_has_it_and_somebody_s_comes_back",
            "this kernel has no CAKE",
        )?);
    }
    let root = tc(&namespace, "qdisc")?;
    ensure!(root.contains("qdisc cake 1: root") && root.contains("bandwidth 10Mbit diffserv4"), "{root}");
    ensure!(root.contains("split-gso") && root.contains(" nat "), "{root}");
    // Another rate, then HTB in its place, then nothing.
    let again = ["apply", "--iface", "q0", "--rate", "5mbit"];
    ensure!(ntc(&namespace, &[&again[..], &["--cake"]].concat())?.0);
    ensure!(tc(&namespace, "qdisc")?.contains("bandwidth 5Mbit diffserv4"));
    let (fine, told) = ntc(&namespace, &again)?;
    ensure!(fine && tc(&namespace, "qdisc")?.contains("qdisc htb 1: root"), "{told}");
    ensure!(ntc(&namespace, &["remove", "--iface", "q0"])?.0 && tc(&namespace, "qdisc")? == before);

    // Somebody's CAKE, with what he chose.
    let his = "qdisc add dev q0 root handle 9: cake bandwidth 7mbit besteffort flows overhead 44 rtt 50ms";
    namespace.output("tc", &his.split(' ').collect::<Vec<_>>())?;
    let before = tc(&namespace, "qdisc")?;
    let request = ["apply", "--iface", "q0", "--rate", "10mbit", "--cake"];
    let (fine, told) = ntc(&namespace, &request)?;
    ensure!(!fine && told.contains("--replace"), "{told}");
    ensure!(ntc(&namespace, &[&request[..], &["--replace"]].concat())?.0);
    ensure!(ntc(&namespace, &["remove", "--iface", "q0"])?.0);
    ensure!(tc(&namespace, "qdisc")? == before, "{before} is {}", tc(&namespace, "qdisc")?);
    Ok(())
}
