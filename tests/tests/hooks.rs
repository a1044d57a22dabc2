//! Which hook on which device, beside which other programs; and interfaces that come, go and change.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    process::{Command, Output},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use aya::programs::{SchedClassifier, TcAttachType};
use ntc_tests::{
    agent::{Agent, PinDir, binary},
    foreign::{At, Foreign, Kind},
    frames::Frame,
    net::Namespace,
    skip,
    wire::{RawSocket, Tun},
};
use rustix::process::Signal;
use serde_json::Value;

/// A host for the agent, and one beside it.
struct Hosts {
    near: Namespace,
    far: Namespace,
    pins: PinDir,
}

impl Hosts {
    fn new(test: &str) -> anyhow::Result<Self> {
        Ok(Self { near: Namespace::new()?, far: Namespace::new()?, pins: PinDir::new(test) })
    }

    /// With one link, `r0` to `s0`.
    fn linked(test: &str) -> anyhow::Result<Self> {
        let hosts = Self::new(test)?;
        hosts.near.veth("r0", &hosts.far, "s0")?;
        Ok(hosts)
    }

    fn agent(&self, arguments: &[&str]) -> anyhow::Result<Agent> {
        Agent::start(&self.near, &self.pins.0, arguments)
    }

    /// Runs `ntc` in the agent's namespace to its end.
    fn ntc(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        let mut command = self.near.prepare(binary()?);
        command.args(arguments).arg("--pin-dir").arg(&self.pins.0);
        command.env("ORT_DYLIB_PATH", ntc_tests::root().join(".tools/onnxruntime/libonnxruntime.so"));
        Ok(command.output()?)
    }

    /// A question and its answer, both from the far side to `r0`.
    fn exchange(&self, port: u16) -> anyhow::Result<()> {
        send(&self.far, "s0", &[question(port)?, question(port)?.reply(120)])
    }
}

fn question(port: u16) -> anyhow::Result<Frame> {
    let (client, server): (IpAddr, IpAddr) = ("192.0.2.10".parse()?, "198.51.100.10".parse()?);
    Ok(Frame::udp((client, port), (server, 53), 40))
}

fn send(from: &Namespace, interface: &str, frames: &[Frame]) -> anyhow::Result<()> {
    from.enter(|| {
        let socket = RawSocket::open(interface)?;
        Ok(frames.iter().try_for_each(|frame| socket.send(&frame.bytes()))?)
    })
}

/// The hook that an event tells of.
fn hook<'a>(agent: &'a Agent, interface: &str) -> anyhow::Result<&'a Value> {
    let hooks = agent.ready["hooks"].as_array().context("no hooks")?;
    hooks.iter().find(|hook| hook["interface"] == interface).with_context(|| agent.ready.to_string())
}

fn of_interface(change: &str, interface: &str) -> impl Fn(&Value) -> bool {
    move |event| event["event"] == "interface" && event["change"] == change && event["interface"] == interface
}

fn of_port(port: u16) -> impl Fn(&Value) -> bool {
    move |event| event["event"] == "label" && event["src_port"] == port
}

/// Packets of flows that were seen: bridges and hosts say other things by themselves.
fn seen(events: &[Value]) -> anyhow::Result<u64> {
    let summary = events.last().context("no summary")?;
    ensure!(summary["ledger"]["closes"] == true, "{summary}");
    let count = |name: &str| summary["ledger"][name].as_u64().with_context(|| name.to_owned());
    Ok(count("seen")? - count("not_flow")?)
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

/// Starts an agent on `r0`, sees that a flow gets its label, and says where it captured and why.
fn captures(hosts: &Hosts, more: &[&str]) -> anyhow::Result<(String, String)> {
    let mut agent = hosts.agent(&[&["--iface", "r0"], more].concat())?;
    hosts.exchange(41_000)?;
    let label = agent.until(of_port(41_000))?;
    ensure!(label["packets"] == 2, "{label}");
    let hook = hook(&agent, "r0")?;
    let told = (hook["capture"].as_str().context("capture")?.into(), hook["why"].to_string());
    ensure!(seen(&agent.stop()?)? == 2, "each packet once");
    Ok(told)
}

#[test]
fn native_xdp_comes_first_also_with_jumbo_frames() -> anyhow::Result<()> {
    let hosts = Hosts::linked("native")?;
    for (namespace, interface) in [(&hosts.near, "r0"), (&hosts.far, "s0")] {
        namespace.ip(&["link", "set", interface, "mtu", "9000"])?;
    }
    let mut agent = hosts.agent(&["--iface", "r0"])?;
    let told = hook(&agent, "r0")?;
    ensure!(told["capture"] == "native XDP" && told["enforce"] == "TCX", "{told}");
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
fn beside_another_xdp_program_tc_captures() -> anyhow::Result<()> {
    let hosts = Hosts::linked("foreign-xdp")?;
    // It takes frames of one piece only.
    for (namespace, interface) in [(&hosts.near, "r0"), (&hosts.far, "s0")] {
        namespace.ip(&["link", "set", interface, "mtu", "1500"])?;
    }
    let other = Foreign::load(Kind::Xdp)?;
    let index = hosts.near.index("r0")?;
    let _link = hosts.near.enter(|| Ok(other.attach(index, At::Xdp)?))?;
    let before = hosts.near.output("ip", &["-d", "link", "show", "dev", "r0"])?;
    let (capture, why) = captures(&hosts, &[])?;
    ensure!(capture == "tc ingress" && why.contains("another XDP program"), "{capture}: {why}");
    let id = before
        .split("prog/xdp id ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next())
        .context(before.clone())?;
    ensure!(why.contains(&format!("(id {id})")), "{why} does not name {id}");
    let after = hosts.near.output("ip", &["-d", "link", "show", "dev", "r0"])?;
    ensure!(after.contains(&format!("prog/xdp id {id} ")), "{after}");
    Ok(())
}

#[test]
fn beside_other_tcx_programs_all_have_their_say() -> anyhow::Result<()> {
    let hosts = Hosts::linked("foreign-tcx")?;
    let index = hosts.near.index("r0")?;
    let (last, next) = (Foreign::load(Kind::LastWord)?, Foreign::load(Kind::Next)?);
    let mut links = Vec::new();
    for (program, at) in [(&last, At::TcxIngress), (&next, At::TcxIngress), (&next, At::TcxEgress)] {
        links.push(hosts.near.enter(|| Ok(program.attach(index, at)?))?);
    }
    ensure!(tcx_programs(&hosts, "r0")? == [vec!["", ""], vec![""]]);
    // The one with the last word was there first, and ntc goes before it.
    let mut agent = hosts.agent(&["--iface", "r0", "--hook", "tc"])?;
    let all = tcx_programs(&hosts, "r0")?;
    ensure!(all == [vec!["ntc_tc_ingress", "", ""], vec!["ntc_tc_egress", ""]], "{all:?}");
    hosts.exchange(41_003)?;
    agent.until(of_port(41_003))?;
    ensure!(seen(&agent.stop()?)? == 2);
    ensure!(tcx_programs(&hosts, "r0")? == [vec!["", ""], vec![""]], "programs of others stay");
    Ok(())
}

/// Names of the TCX programs at ingress and egress, in the order in which they run; those of tests have none.
fn tcx_programs(hosts: &Hosts, interface: &str) -> anyhow::Result<[Vec<String>; 2]> {
    hosts.near.enter(|| {
        let names = |direction| -> anyhow::Result<Vec<String>> {
            let (_, programs) = SchedClassifier::query_tcx(interface, direction)?;
            Ok(programs.iter().map(|info| info.name_as_str().unwrap_or_default().to_owned()).collect())
        };
        Ok([names(TcAttachType::Ingress)?, names(TcAttachType::Egress)?])
    })
}

/// ntc's filters at both hooks of `r0`, and those of others.
fn filters(hosts: &Hosts) -> anyhow::Result<(usize, usize)> {
    let mut all = String::new();
    for hook in ["ingress", "egress"] {
        all += &hosts.near.output("tc", &["filter", "show", "dev", "r0", hook])?;
    }
    let named = |name| all.lines().filter(|line| line.contains("handle") && line.contains(name)).count();
    let ours = named("ntc_tc_");
    Ok((ours, named("handle") - ours))
}

fn has_clsact(hosts: &Hosts) -> anyhow::Result<bool> {
    Ok(hosts.near.output("tc", &["qdisc", "show", "dev", "r0"])?.contains("clsact"))
}

#[test]
fn filters_on_clsact_are_taken_over_and_removed() -> anyhow::Result<()> {
    let hosts = Hosts::linked("clsact")?;
    let arguments = ["--iface", "r0", "--hook", "tc", "--tc", "clsact"];
    let mut agent = hosts.agent(&arguments)?;
    let told = hook(&agent, "r0")?;
    ensure!(told["enforce"] == "clsact" && told["why"].to_string().contains("--tc clsact"), "{told}");
    hosts.exchange(41_004)?;
    agent.until(of_port(41_004))?;
    agent.signal(Signal::KILL)?;
    agent.wait()?;
    ensure!(filters(&hosts)? == (2, 0), "filters outlive their agent: {:?}", filters(&hosts)?);

    // Another filter, as somebody else would add it; and another agent's.
    let other = Foreign::load(Kind::Next)?;
    let pin = hosts.pins.0.with_file_name(format!("ntc-t{}-clsact-other", std::process::id()));
    other.pin(&pin)?;
    let added = hosts.near.output(
        "tc",
        &["filter", "add", "dev", "r0", "egress", "bpf", "da", "object-pinned", &pin.to_string_lossy()],
    );
    std::fs::remove_file(&pin)?;
    added?;
    let neighbour = PinDir::new("clsact-neighbour");
    // One agent an interface: the neighbour was there before, and died.
    let second = Agent::start(&hosts.near, &neighbour.0, &arguments)?;
    second.signal(Signal::KILL)?;
    second.wait()?;
    ensure!(filters(&hosts)? == (4, 1));

    let mut agent = hosts.agent(&arguments)?;
    ensure!(filters(&hosts)? == (4, 1), "a restart replaces its own: {:?}", filters(&hosts)?);
    hosts.exchange(41_005)?;
    agent.until(of_port(41_005))?;
    // The ledger went on from the first agent's.
    ensure!(seen(&agent.stop()?)? == 4, "each packet once");
    ensure!(filters(&hosts)? == (2, 1) && has_clsact(&hosts)?);

    let agent = hosts.agent(&arguments)?;
    agent.signal(Signal::KILL)?;
    agent.wait()?;
    let detach = hosts.near.prepare(binary()?).args(["detach", "--pin-dir"]).arg(&neighbour.0).output()?;
    ensure!(detach.status.success(), "{}", text(&detach));
    ensure!(filters(&hosts)? == (2, 1));
    let detach = hosts.ntc(&["detach"])?;
    ensure!(detach.status.success() && text(&detach).contains("removed 2 filters"), "{}", text(&detach));
    ensure!(filters(&hosts)? == (0, 1) && has_clsact(&hosts)?, "somebody else's filter stays");
    hosts.near.output("tc", &["filter", "del", "dev", "r0", "egress"])?;

    // Told to stay, filters stay without a pin; and nothing is left when they go.
    hosts.agent(&[&arguments[..], &["--stay"]].concat())?.stop()?;
    ensure!(filters(&hosts)? == (2, 0));
    hosts.agent(&arguments)?.stop()?;
    ensure!(filters(&hosts)? == (0, 0) && !has_clsact(&hosts)?, "the last filter takes the qdisc with it");
    Ok(())
}

#[test]
fn programs_that_do_not_run_are_told() -> anyhow::Result<()> {
    let hosts = Hosts::linked("silent")?;
    let mut agent = hosts.agent(&["--iface", "r0"])?;
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let traffic = [(&hosts.far, "s0"), (&hosts.near, "r0")].map(|(namespace, interface)| {
            let stop = &stop;
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    send(namespace, interface, &[question(41_006)?])?;
                    std::thread::sleep(Duration::from_millis(10));
                }
                anyhow::Ok(())
            })
        });
        let mut events = || -> anyhow::Result<()> {
            let told = |change: &'static str, program: &'static str| {
                let of = of_interface(change, "r0");
                move |event: &Value| {
                    assert!(change == "silent" || event["change"] != "silent", "nothing was silent: {event}");
                    of(event) && event["program"] == program
                }
            };
            let mut running = BTreeSet::new();
            while running.len() < 3 {
                let event = agent.until(of_interface("running", "r0"))?;
                running.insert(event["program"].to_string());
            }
            let index = hosts.near.index("r0")?;
            let other = Foreign::load(Kind::LastWord)?;
            let hides = hosts.near.enter(|| Ok(other.attach(index, At::TcxEgress)?))?;
            let silent = agent.until(told("silent", "tc egress"))?;
            ensure!(silent["why"].to_string().contains("did not run"), "{silent}");
            drop(hides);
            agent.until(told("running", "tc egress"))?;
            Ok(())
        };
        let outcome = events();
        stop.store(true, Ordering::Relaxed);
        for thread in traffic {
            thread.join().map_err(|_| anyhow::anyhow!("the traffic died"))??;
        }
        outcome
    })?;
    let rest = agent.stop()?;
    ensure!(!rest.iter().any(|event| event["change"] == "silent"), "{rest:?}");
    Ok(())
}

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
        ensure!(tcx_programs(&hosts, interface)?.concat().is_empty());
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
    ensure!(pins()? == 3);
    hosts.near.ip(&["link", "del", "r0"])?;
    agent.until(of_interface("detached", "r0"))?;
    ensure!(pins()? == 0, "pins of an interface that has gone");
    hosts.near.veth("r0", &hosts.far, "s0")?;
    agent.until(of_interface("attached", "r0"))?;
    agent.stop()?;
    ensure!(pins()? == 3);
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

#[test]
fn patterns_that_are_none_are_refused() -> anyhow::Result<()> {
    let output = Command::new(binary()?).args(["run", "--iface", "a["]).output()?;
    ensure!(output.status.code() == Some(1) && text(&output).contains("interface a["), "{}", text(&output));
    Ok(())
}
