//! Full tables, interfaces that go down, output that nobody takes, a second agent.

use std::{fs::OpenOptions, io::read_to_string, process::Stdio, time::Duration};

use anyhow::{Context as _, ensure};
use ntc_tests::{
    agent::{Agent, PinDir},
    frames::Frame,
    net::Namespace,
    patience::patient,
    running::Running,
    wire::RawSocket,
};
use ntc_user::kernel::tables;
use rustix::process::{Pid, Signal, kill_process};

use crate::link::{Call, Link, of_call, of_port, text};

#[test]
fn full_tables_keep_no_packet_back() -> anyhow::Result<()> {
    let link = Link::new("full")?;
    link.addresses()?;
    let call = Call::begin(&link)?;
    let mut agent = link.agent(&["--max-flows", "64", "--pause-ms", "20"])?;
    // Thirty times what the tables hold; two packets each, so that they are asked about and labelled.
    link.far_side.enter(|| {
        let socket = RawSocket::open("s0")?;
        for port in 1..=2000_u16 {
            let frame = Frame::udp(("198.51.100.7".parse()?, port), ("192.0.2.1".parse()?, 9), 30).bytes();
            socket.send(&frame)?;
            socket.send(&frame)?;
        }
        Ok(())
    })?;
    call.goes_on(50)?;
    let counts = tables::counts(&link.pins.0)?;
    ensure!(counts.ledger.seen >= 4000, "{:?}", counts.ledger);
    // And flows that come later are labelled all the same.
    link.exchange(40_030)?;
    agent.until(of_port(40_030))?;
    let labels = tables::labels(&link.pins.0)?.keys().filter_map(Result::ok).count();
    ensure!((1..=64).contains(&labels), "{labels} labels in a table of 64");
    let tally = call.end()?;
    ensure!(tally.longest_gap <= 2, "{tally:?}");
    let events = agent.stop()?;
    let summary = events.last().context("no summary")?;
    ensure!(
        summary["ledger"]["closes"] == true && summary["ledger"]["new_flows"].as_u64() >= Some(2000),
        "{summary}"
    );
    Ok(())
}

#[test]
fn an_interface_that_goes_down_and_up_is_still_captured() -> anyhow::Result<()> {
    let link = Link::new("flap")?;
    let mut agent = link.agent(&[])?;
    link.exchange(40_031)?;
    agent.until(of_port(40_031))?;
    for _ in 0..3 {
        link.agent_side.ip(&["link", "set", "r0", "down"])?;
        link.agent_side.ip(&["link", "set", "r0", "up"])?;
    }
    link.exchange(40_032)?;
    agent.until(of_port(40_032))?;
    ensure!(link.xdp_attached()?);
    let events = agent.stop()?;
    ensure!(events.last().context("no summary")?["ledger"]["closes"] == true);
    Ok(())
}

#[test]
fn output_that_nobody_takes_does_not_stop_it() -> anyhow::Result<()> {
    for closed in [true, false] {
        let link = Link::new(if closed { "closed" } else { "full-disk" })?;
        link.addresses()?;
        let mut command = Agent::command(&link.agent_side, &link.pins.0, &[], &["--iface", "r0"])?;
        command.stderr(Stdio::piped());
        if closed {
            command.stdout(Stdio::piped());
        } else {
            command.stdout(OpenOptions::new().write(true).open("/dev/full")?);
        }
        let mut agent = Running(command.spawn()?);
        drop(agent.0.stdout.take());
        let call = Call::begin(&link)?;
        let start = std::time::Instant::now();
        while link.label().ok().flatten().is_none() {
            ensure!(start.elapsed() < patient(Duration::from_secs(20)), "no label without output");
            std::thread::sleep(Duration::from_millis(50));
        }
        // The heart beats on, seconds after the output broke.
        link.promote()?;
        link.counts_on(|counts| counts.labelled, Duration::from_secs(5))?;
        call.end()?;
        kill_process(Pid::from_raw(agent.0.id() as i32).context("pid")?, Signal::INT)?;
        let said = read_to_string(agent.0.stderr.take().context("no stderr")?)?;
        let status = agent.0.wait()?;
        if closed {
            ensure!(status.success(), "a reader that went away is no failure: {said}");
        } else {
            ensure!(status.code() == Some(1) && said.contains("cannot write to stdout"), "{said}");
        }
        ensure!(!link.pins.0.exists());
    }
    Ok(())
}

#[test]
fn one_agent_an_interface_whatever_its_pins() -> anyhow::Result<()> {
    let link = Link::new("first")?;
    let agent = link.agent(&[])?;
    let others = PinDir::new("second");
    let mut second =
        Agent::command(&link.agent_side, &others.0, &[], &["--enforce", "r0", "--capture", "lo0"])?;
    link.agent_side.ip(&["link", "add", "lo0", "type", "veth", "peer", "name", "lo1"])?;
    let refused = second.output()?;
    let who = format!("interface r0: another ntc agent (process {}, ntc) works here", agent.pid());
    ensure!(refused.status.code() == Some(1) && text(&refused).contains(&who), "{}", text(&refused));
    ensure!(!others.0.exists(), "pins stay of an agent that did not start");
    // On the same pins: said with the process, too.
    let refused = Agent::command(&link.agent_side, &link.pins.0, &[], &["--iface", "r0"])?.output()?;
    let who = format!("another ntc agent (process {}, ntc) is running on these pins", agent.pid());
    ensure!(refused.status.code() == Some(1) && text(&refused).contains(&who), "{}", text(&refused));
    // Elsewhere it is welcome: on another interface, and on one of the same name in another namespace.
    let beside = Agent::start(&link.agent_side, &others.0, &["--iface", "lo0"])?;
    let (away, yonder) = (Namespace::new()?, PinDir::new("third"));
    away.veth("r0", &link.far_side, "s1")?;
    let third = Agent::start(&away, &yonder.0, &["--iface", "r0"])?;
    for agent in [agent, beside, third] {
        agent.stop()?;
    }
    Ok(())
}

#[test]
fn a_call_of_the_machine_is_labelled() -> anyhow::Result<()> {
    let link = Link::new("call")?;
    link.addresses()?;
    let call = Call::begin(&link)?;
    let mut agent = link.agent(&[])?;
    let label = agent.until(|event| of_call(event) && event["stage"] == "final")?;
    ensure!(label["packets"] == 20, "{label}");
    call.end()?;
    agent.stop()?;
    Ok(())
}
