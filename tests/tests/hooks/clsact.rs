//! By filters on a clsact qdisc: before Linux 6.6 the only way, after it one that can be asked for.

use anyhow::{Context as _, ensure};
use ntc_tests::{
    agent::{Agent, PinDir, binary},
    foreign::{At, Foreign, Kind},
    kernel::has_tcx,
    skip,
};
use rustix::process::Signal;

use crate::{
    beside::NO_TCX,
    hosts::{Hosts, filters, has_clsact, hook, of_interface, of_port, seen, text, under_traffic},
};

const ASKED: [&str; 6] = ["--iface", "r0", "--hook", "tc", "--tc", "clsact"];

#[test]
fn filters_on_clsact_are_taken_over_and_removed() -> anyhow::Result<()> {
    let hosts = Hosts::linked("clsact")?;
    let mut agent = hosts.agent(&ASKED)?;
    let told = hook(&agent, "r0")?;
    ensure!(told["enforce"] == "clsact" && told["why"].to_string().contains("--tc clsact"), "{told}");
    hosts.exchange(41_004)?;
    agent.until(of_port(41_004))?;
    agent.signal(Signal::KILL)?;
    agent.wait()?;
    ensure!(filters(&hosts, "r0")? == (2, 0), "filters outlive their agent: {:?}", filters(&hosts, "r0")?);

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
    let second = Agent::start(&hosts.near, &neighbour.0, &ASKED)?;
    second.signal(Signal::KILL)?;
    second.wait()?;
    ensure!(filters(&hosts, "r0")? == (4, 1));

    let mut agent = hosts.agent(&ASKED)?;
    ensure!(filters(&hosts, "r0")? == (4, 1), "a restart replaces its own: {:?}", filters(&hosts, "r0")?);
    hosts.exchange(41_005)?;
    agent.until(of_port(41_005))?;
    // The ledger went on from the first agent's.
    ensure!(seen(&agent.stop()?)? == 4, "each packet once");
    ensure!(filters(&hosts, "r0")? == (2, 1) && has_clsact(&hosts)?);

    let agent = hosts.agent(&ASKED)?;
    agent.signal(Signal::KILL)?;
    agent.wait()?;
    let detach = hosts.near.prepare(binary()?).args(["detach", "--pin-dir"]).arg(&neighbour.0).output()?;
    ensure!(detach.status.success(), "{}", text(&detach));
    ensure!(filters(&hosts, "r0")? == (2, 1));
    let detach = hosts.ntc(&["detach"])?;
    ensure!(detach.status.success() && text(&detach).contains("removed 2 filters"), "{}", text(&detach));
    ensure!(filters(&hosts, "r0")? == (0, 1) && has_clsact(&hosts)?, "somebody else's filter stays");
    hosts.near.output("tc", &["filter", "del", "dev", "r0", "egress"])?;

    // Told to stay, filters stay without a pin; and nothing is left when they go.
    hosts.agent(&[&ASKED[..], &["--stay"]].concat())?.stop()?;
    ensure!(filters(&hosts, "r0")? == (2, 0));
    hosts.agent(&ASKED)?.stop()?;
    ensure!(
        filters(&hosts, "r0")? == (0, 0) && !has_clsact(&hosts)?,
        "the last filter takes the qdisc with it"
    );
    Ok(())
}

#[test]
fn a_program_on_tcx_that_ends_the_walk_hides_filters_on_clsact() -> anyhow::Result<()> {
    if !has_tcx()? {
        return Ok(skip("hooks::a_program_on_tcx_that_ends_the_walk_hides_filters_on_clsact", NO_TCX)?);
    }
    let hosts = Hosts::linked("hidden")?;
    let other = Foreign::load(Kind::LastWord)?;
    let index = hosts.near.index("r0")?;
    let hides = hosts.near.enter(|| Ok(other.attach(index, At::TcxIngress)?))?;
    let mut agent = hosts.agent(&ASKED)?;
    // Said before anybody misses a packet, and found by the self-test once packets pass.
    let told = hook(&agent, "r0")?;
    ensure!(told["enforce"] == "clsact" && told["why"].to_string().contains("on TCX come before"), "{told}");
    let (silent, running) = (of_interface("silent", "r0"), of_interface("running", "r0"));
    let found = under_traffic(&hosts, || {
        let found = agent.until(silent)?;
        drop(hides);
        agent.until(|event| running(event) && event["program"] == "tc ingress")?;
        Ok(found)
    })?;
    ensure!(found["program"] == "tc ingress" && found["why"].to_string().contains("did not run"), "{found}");
    hosts.exchange(41_013)?;
    agent.until(of_port(41_013)).context("once the other program has gone")?;
    agent.stop()?;

    // By default ntc goes to TCX, too, and before it.
    let _hides = hosts.near.enter(|| Ok(other.attach(index, At::TcxIngress)?))?;
    let mut agent = hosts.agent(&["--iface", "r0", "--hook", "tc"])?;
    hosts.exchange(41_014)?;
    agent.until(of_port(41_014))?;
    agent.stop()?;
    Ok(())
}

#[test]
fn a_start_that_fails_leaves_no_qdisc() -> anyhow::Result<()> {
    let hosts = Hosts::linked("failed")?;
    for (namespace, interface) in [(&hosts.near, "r0"), (&hosts.far, "s0")] {
        namespace.ip(&["link", "set", interface, "mtu", "1500"])?;
    }
    // At tc all is well, at XDP another program sits.
    let other = Foreign::load(Kind::Xdp)?;
    let index = hosts.near.index("r0")?;
    let _link = hosts.near.enter(|| Ok(other.attach(index, At::Xdp)?))?;
    let fails = |why: &str| -> anyhow::Result<()> {
        for stay in [&[][..], &["--stay"]] {
            let asked = ["run", "--iface", "r0", "--hook", "native", "--tc", "clsact"];
            let refused = hosts.ntc(&[&asked[..], stay].concat())?;
            ensure!(refused.status.code() == Some(1), "{}", text(&refused));
            ensure!(text(&refused).contains("cannot attach ntc_xdp"), "{}", text(&refused));
            ensure!(filters(&hosts, "r0")? == (0, 0), "{why}: filters stay");
        }
        Ok(())
    };
    fails("no qdisc")?;
    ensure!(!has_clsact(&hosts)?, "the qdisc stays of an agent that did not start");
    // One that was there is somebody else's, also where it is empty.
    hosts.near.output("tc", &["qdisc", "add", "dev", "r0", "clsact"])?;
    fails("with a qdisc")?;
    ensure!(has_clsact(&hosts)?, "somebody else's qdisc went");
    Ok(())
}
