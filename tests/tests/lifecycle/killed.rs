//! Killed under load: labels end within the heartbeat, the machine's traffic does not, and the next agent goes on.

use std::time::Duration;

use anyhow::ensure;
use ntc_tests::patience::patient;
use ntc_user::kernel::heartbeat::LIFETIME;
use rustix::process::Signal;

use crate::link::{Call, Link, of_call};

/// Readings of counters, on a machine whose processors are busy with other tests.
const SLACK: Duration = Duration::from_millis(1500);

#[test]
fn killed_under_load_labels_end_traffic_goes_on_and_the_next_agent_takes_over() -> anyhow::Result<()> {
    for stay in [true, false] {
        let link = Link::new(if stay { "kill-stay" } else { "kill" })?;
        link.addresses()?;
        let call = Call::begin(&link)?;
        let more: &[&str] = if stay { &["--stay"] } else { &[] };
        let mut agent = link.agent(more)?;
        // Full: from here on nobody but this test writes the label.
        agent.until(|event| of_call(event) && event["stage"] == "final")?;
        let label = link.promote()?;
        link.counts_on(|counts| counts.labelled, Duration::from_secs(5))?;

        agent.signal(Signal::KILL)?;
        agent.wait()?;
        call.goes_on(20)?;
        if stay {
            // The programs are there, the agent is not.
            let ended = link.counts_on(|counts| counts.stale, LIFETIME + SLACK)?;
            ensure!(ended <= patient(LIFETIME + SLACK), "labels counted for {ended:?}");
        } else {
            ensure!(!link.xdp_attached()?, "the programs left with the agent");
        }
        let dead = link.enforcement()?;
        call.goes_on(20)?;
        let later = link.enforcement()?;
        ensure!(later.labelled == dead.labelled, "labels count without an agent: {later:?} after {dead:?}");

        let agent = link.agent(more)?;
        link.counts_on(|counts| counts.labelled, Duration::from_secs(5))?;
        let taken = link.label()?.map(|(_, label)| label);
        ensure!(taken == Some(label), "the label was taken over: {taken:?}, {label:?}");
        call.goes_on(20)?;
        agent.stop()?;
        call.goes_on(20)?;
        let tally = call.end()?;
        // A driver that takes a program up or down may lose what it holds in that instant.
        ensure!(tally.longest_gap <= 2 && tally.answered > 100, "{tally:?}");
        link.ntc(&["detach"])?;
    }
    Ok(())
}
