//! Beside programs of others.

use std::collections::BTreeSet;

use anyhow::{Context as _, ensure};
use ntc_tests::{
    foreign::{At, Foreign, Kind},
    kernel::has_tcx,
    skip,
};
use serde_json::Value;

use crate::hosts::{Hosts, captures, of_interface, of_port, seen, tcx_programs, under_traffic};

/// Why such a test cannot run.
pub(crate) const NO_TCX: &str = "this kernel has no TCX";

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
    if !has_tcx()? {
        return Ok(skip("hooks::beside_other_tcx_programs_all_have_their_say", NO_TCX)?);
    }
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

#[test]
fn programs_that_do_not_run_are_told() -> anyhow::Result<()> {
    if !has_tcx()? {
        return Ok(skip("hooks::programs_that_do_not_run_are_told", NO_TCX)?);
    }
    let hosts = Hosts::linked("silent")?;
    let mut agent = hosts.agent(&["--iface", "r0"])?;
    under_traffic(&hosts, || {
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
    })?;
    let rest = agent.stop()?;
    ensure!(!rest.iter().any(|event| event["change"] == "silent"), "{rest:?}");
    Ok(())
}
