//! A host for the agent, one beside it, and what hangs on the link between them.

use std::{
    net::IpAddr,
    process::Output,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use aya::programs::{SchedClassifier, TcAttachType};
use ntc_tests::{
    agent::{Agent, PinDir, binary},
    frames::Frame,
    net::Namespace,
    wire::RawSocket,
};
use serde_json::Value;

/// A host for the agent, and one beside it.
pub(crate) struct Hosts {
    pub(crate) near: Namespace,
    pub(crate) far: Namespace,
    pub(crate) pins: PinDir,
}

impl Hosts {
    pub(crate) fn new(test: &str) -> anyhow::Result<Self> {
        Ok(Self { near: Namespace::new()?, far: Namespace::new()?, pins: PinDir::new(test) })
    }

    /// With one link, `r0` to `s0`.
    pub(crate) fn linked(test: &str) -> anyhow::Result<Self> {
        let hosts = Self::new(test)?;
        hosts.near.veth("r0", &hosts.far, "s0")?;
        Ok(hosts)
    }

    pub(crate) fn agent(&self, arguments: &[&str]) -> anyhow::Result<Agent> {
        Agent::start(&self.near, &self.pins.0, arguments)
    }

    /// Runs `ntc` in the agent's namespace to its end.
    pub(crate) fn ntc(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        let mut command = self.near.prepare(binary()?);
        command.args(arguments).arg("--pin-dir").arg(&self.pins.0);
        command.env("ORT_DYLIB_PATH", ntc_tests::root().join(".tools/onnxruntime/libonnxruntime.so"));
        Ok(command.output()?)
    }

    /// A question and its answer, both from the far side to `r0`.
    pub(crate) fn exchange(&self, port: u16) -> anyhow::Result<()> {
        send(&self.far, "s0", &[question(port)?, question(port)?.reply(120)])
    }
}

pub(crate) fn question(port: u16) -> anyhow::Result<Frame> {
    let (client, server): (IpAddr, IpAddr) = ("192.0.2.10".parse()?, "198.51.100.10".parse()?);
    Ok(Frame::udp((client, port), (server, 53), 40))
}

pub(crate) fn send(from: &Namespace, interface: &str, frames: &[Frame]) -> anyhow::Result<()> {
    from.enter(|| {
        let socket = RawSocket::open(interface)?;
        Ok(frames.iter().try_for_each(|frame| socket.send(&frame.bytes()))?)
    })
}

/// The hook that an event tells of.
pub(crate) fn hook<'a>(agent: &'a Agent, interface: &str) -> anyhow::Result<&'a Value> {
    let hooks = agent.ready["hooks"].as_array().context("no hooks")?;
    hooks.iter().find(|hook| hook["interface"] == interface).with_context(|| agent.ready.to_string())
}

pub(crate) fn of_interface(change: &str, interface: &str) -> impl Fn(&Value) -> bool {
    move |event| event["event"] == "interface" && event["change"] == change && event["interface"] == interface
}

pub(crate) fn of_port(port: u16) -> impl Fn(&Value) -> bool {
    move |event| event["event"] == "label" && event["src_port"] == port
}

/// Packets of flows that were seen: bridges and hosts say other things by themselves.
pub(crate) fn seen(events: &[Value]) -> anyhow::Result<u64> {
    let summary = events.last().context("no summary")?;
    ensure!(summary["ledger"]["closes"] == true, "{summary}");
    let count = |name: &str| summary["ledger"][name].as_u64().with_context(|| name.to_owned());
    Ok(count("seen")? - count("not_flow")?)
}

pub(crate) fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

/// Starts an agent on `r0`, sees that a flow gets its label, and says where it captured and why.
pub(crate) fn captures(hosts: &Hosts, more: &[&str]) -> anyhow::Result<(String, String)> {
    let mut agent = hosts.agent(&[&["--iface", "r0"], more].concat())?;
    hosts.exchange(41_000)?;
    // One packet may do for an early answer; the pause brings the one that rests on both.
    agent.until(|event| of_port(41_000)(event) && event["packets"] == 2)?;
    let hook = hook(&agent, "r0")?;
    let told = (hook["capture"].as_str().context("capture")?.into(), hook["why"].to_string());
    ensure!(seen(&agent.stop()?)? == 2, "each packet once");
    Ok(told)
}

/// Names of the TCX programs at ingress and egress, in the order in which they run; those of tests have none.
pub(crate) fn tcx_programs(hosts: &Hosts, interface: &str) -> anyhow::Result<[Vec<String>; 2]> {
    hosts.near.enter(|| {
        let names = |direction| -> anyhow::Result<Vec<String>> {
            let (_, programs) = SchedClassifier::query_tcx(interface, direction)?;
            Ok(programs.iter().map(|info| info.name_as_str().unwrap_or_default().to_owned()).collect())
        };
        Ok([names(TcAttachType::Ingress)?, names(TcAttachType::Egress)?])
    })
}

/// ntc's filters at both hooks of an interface's clsact qdisc, and those of others.
pub(crate) fn filters(hosts: &Hosts, interface: &str) -> anyhow::Result<(usize, usize)> {
    let mut all = String::new();
    for hook in ["ingress", "egress"] {
        all += &hosts.near.output("tc", &["filter", "show", "dev", interface, hook])?;
    }
    let named = |name| all.lines().filter(|line| line.contains("handle") && line.contains(name)).count();
    let ours = named("ntc_tc_");
    Ok((ours, named("handle") - ours))
}

pub(crate) fn has_clsact(hosts: &Hosts) -> anyhow::Result<bool> {
    Ok(hosts.near.output("tc", &["qdisc", "show", "dev", "r0"])?.contains("clsact"))
}

/// Does something while packets pass `r0` both ways.
pub(crate) fn under_traffic<T>(hosts: &Hosts, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
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
        let outcome = work();
        stop.store(true, Ordering::Relaxed);
        for thread in traffic {
            thread.join().map_err(|_| anyhow::anyhow!("the traffic died"))??;
        }
        outcome
    })
}
