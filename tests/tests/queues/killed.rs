//! An agent that is killed under load: labels and rules end within the heartbeat, by the qdisc's own counters, and no
//! packet is lost.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use ntc_tests::patience::patient;
use ntc_user::{
    catalogue::Catalogue,
    kernel::{heartbeat::LIFETIME, tables},
};
use rustix::process::Signal;

use crate::router::{FREE, Router, VOICE};

/// Of each flow's packets; a class without one for much longer has none any more.
const PERIOD: Duration = Duration::from_millis(5);
const QUIET: Duration = Duration::from_millis(400);
/// Readings of counters, on a machine whose processors are busy with other tests.
const SLACK: Duration = Duration::from_millis(300);
/// Of the label's class and the rule's, and of the rest.
const LABELLED: u16 = 0x17;
const RULED: u16 = 0x13;
const REST: u16 = 0x10;

#[test]
fn killed_under_load_all_is_best_effort_within_the_heartbeat() -> anyhow::Result<()> {
    let router = Router::new("queue-kill")?;
    router.queues(&[])?;
    // Its programs stay: without them there would be nothing that could fail to let go.
    let mut agent = router.agent_that_stays()?;
    let lines = [router.line(VOICE)?, router.line(FREE)?];
    let stop = AtomicBool::new(false);
    let (lines, stop) = (&lines, &stop);
    thread::scope(|scope| {
        let flows: Vec<_> = lines
            .iter()
            .map(|(near, far)| {
                scope.spawn(move || -> anyhow::Result<(u64, u64)> {
                    let (mut sent, mut came) = (0, 0);
                    while !stop.load(Ordering::Relaxed) {
                        near.send(&[0; 172])?;
                        sent += 1;
                        came += u64::from(far.recv(&mut [0; 512]).is_ok());
                        thread::sleep(PERIOD);
                    }
                    Ok((sent, came))
                })
            })
            .collect();
        let outcome = (|| {
            agent.until(|event| {
                event["event"] == "label" && event["dst_port"] == FREE && event["stage"] == "final"
            })?;
            promote(&router)?;
            for class in [LABELLED, RULED] {
                grows(&router, class)?;
            }
            agent.signal(Signal::KILL)?;
            let killed = Instant::now();
            agent.wait()?;
            let lasts = last_packets(&router, [LABELLED, RULED], killed)?;
            println!("the last packets of a label and a rule, behind the end of the agent: {lasts:?}");
            ensure!(lasts.iter().all(|last| *last <= patient(LIFETIME + SLACK)), "{lasts:?}");
            grows(&router, REST)
        })();
        stop.store(true, Ordering::Relaxed);
        for flow in flows {
            let (sent, came) = flow.join().map_err(|_| anyhow::anyhow!("a flow died"))??;
            ensure!(sent == came || outcome.is_err(), "{came} of {sent} packets came");
        }
        outcome
    })
}

/// Makes the free flow's label one that the policy acts on, whatever the model thinks of it.
fn promote(router: &Router) -> anyhow::Result<()> {
    let mut labels = tables::labels(&router.pins.0)?;
    let of_flow = |port: [u8; 2]| u16::from_be_bytes(port) == FREE;
    let (key, mut label) = labels
        .iter()
        .filter_map(Result::ok)
        .find(|(key, _)| of_flow(key.lower_port) || of_flow(key.upper_port))
        .context("no label")?;
    let rtp = Catalogue::shipped().by_name("RTP").context("RTP")?;
    (label.service, label.class, label.confidence) = (rtp.id, rtp.class, u16::MAX);
    (label.acts_as, label.acts_confidence) = (rtp.id, u16::MAX);
    Ok(labels.insert(key, label, 0)?)
}

fn packets(router: &Router, class: u16) -> anyhow::Result<u64> {
    Ok(router.htb()?.into_iter().find(|known| known.0 == class).context("class")?.1)
}

fn grows(router: &Router, class: u16) -> anyhow::Result<()> {
    let (before, start) = (packets(router, class)?, Instant::now());
    while packets(router, class)? < before + 5 {
        ensure!(start.elapsed() < patient(Duration::from_secs(10)), "nothing leaves in class {class:x}");
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// When classes had their last packets: the first readings of counts that then stand still.
fn last_packets(router: &Router, classes: [u16; 2], since: Instant) -> anyhow::Result<[Duration; 2]> {
    let read = || -> anyhow::Result<[u64; 2]> {
        let all = router.htb()?;
        let of = |class| all.iter().find(|known| known.0 == class).map(|known| known.1).context("class");
        Ok([of(classes[0])?, of(classes[1])?])
    };
    let (mut counts, mut lasts) = (read()?, [since.elapsed(); 2]);
    loop {
        let (now, at) = (read()?, since.elapsed());
        for class in 0..2 {
            if now[class] != counts[class] {
                lasts[class] = at;
            }
        }
        counts = now;
        if lasts.iter().all(|last| at > *last + patient(QUIET)) {
            return Ok(lasts);
        }
        ensure!(at < patient(Duration::from_secs(15)), "classes never end: {lasts:?}");
        thread::sleep(Duration::from_millis(10));
    }
}
