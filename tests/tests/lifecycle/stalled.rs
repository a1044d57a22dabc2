//! Stopped and continued: nobody reads the ring, nobody beats the heart; then all goes on.

use std::{thread, time::Duration};

use anyhow::{Context as _, ensure};
use ntc_tests::{frames::Frame, wire::RawSocket};
use ntc_user::kernel::{heartbeat::LIFETIME, tables};
use rustix::process::Signal;

use crate::link::{Call, Link, of_call, of_port};

#[test]
fn stopped_for_five_seconds_it_sheds_flows_by_count_and_goes_on() -> anyhow::Result<()> {
    let link = Link::new("stopped")?;
    link.addresses()?;
    let call = Call::begin(&link)?;
    let mut agent = link.agent(&["--ring-bytes", "4096"])?;
    agent.until(|event| of_call(event) && event["stage"] == "final")?;
    link.promote()?;
    link.counts_on(|counts| counts.labelled, Duration::from_secs(5))?;

    agent.signal(Signal::STOP)?;
    let before = tables::counts(&link.pins.0)?.ledger;
    // More new flows than the ring holds records.
    link.far_side.enter(|| {
        let socket = RawSocket::open("s0")?;
        for port in 1..=500 {
            let frame = Frame::udp(("198.51.100.7".parse()?, port), ("192.0.2.1".parse()?, 9), 30);
            socket.send(&frame.bytes())?;
        }
        Ok(())
    })?;
    link.counts_on(|counts| counts.stale, LIFETIME + Duration::from_millis(1500))?;
    thread::sleep(Duration::from_secs(2));
    call.goes_on(20)?;
    let stopped = tables::counts(&link.pins.0)?;
    ensure!(stopped.ledger.shed_flows >= before.shed_flows + 400, "{:?}", stopped.ledger);

    agent.signal(Signal::CONT)?;
    link.counts_on(|counts| counts.labelled, Duration::from_secs(5))?;
    link.exchange(40_020)?;
    agent.until(of_port(40_020))?;
    let tally = call.end()?;
    ensure!(tally.longest_gap <= 2, "{tally:?}");
    let events = agent.stop()?;
    let summary = events.last().context("no summary")?;
    ensure!(summary["ledger"]["closes"] == true, "{summary}");
    ensure!(summary["ledger"]["shed_flows"].as_u64() >= Some(400), "{summary}");
    Ok(())
}
