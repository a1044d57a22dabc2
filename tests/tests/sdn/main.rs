//! The example for SDN engineers, `docs/examples/osken_calls.py`: a real controller and a real switch single out real
//! calls by ntc's labels, and the switch's own counters tell that they did.

mod site;
mod traffic;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use ntc_tests::{
    http::Asker,
    patience::until,
    switch::{Datapath, Metered},
};
use ntc_user::api::listen::socket_of;

use site::{PORTS, Site};
use traffic::{answering, calls, ends_well, fetch, passed, web};

/// Expedited forwarding (RFC 3246), the example's default.
const EF: u8 = 46;
/// Calls at one time. Each is two flows, signalling and speech, and each of these two entries.
const CALLS: u16 = 3;
const ENTRIES: usize = 4 * CALLS as usize;

#[test]
fn calls_get_entries_a_meter_and_a_code_point_of_their_own() -> anyhow::Result<()> {
    let name = "calls_get_entries_a_meter_and_a_code_point_of_their_own";
    if !site::at_hand(name, Datapath::Userspace)? {
        return Ok(());
    }
    let site = Site::new("sdn", Datapath::Userspace)?;
    let agent = site.agent()?;
    let controller = site.controller(&[])?;
    single_out(&site)?;

    // A call that is over loses its entries, whose last counts the controller is told.
    let (_, counted) = site.counted()?;
    until("the end of all entries", Duration::from_secs(40), || Ok((site.counted()?.0 == 0).then_some(())))?;
    let told = controller.said("ends");
    let packets: u64 = told.iter().filter_map(|line| line["packets"].as_u64()).sum();
    ensure!(told.len() == ENTRIES && packets == counted, "{counted}: {told:?}");
    agent.stop()?;
    Ok(())
}

/// The userspace datapath hands no queue to HTB; the kernel's does.
#[test]
fn calls_get_a_queue_of_their_own() -> anyhow::Result<()> {
    if !site::at_hand("calls_get_a_queue_of_their_own", Datapath::Kernel)? {
        return Ok(());
    }
    let site = Site::new("sdn-queue", Datapath::Kernel)?;
    for port in PORTS {
        site.switch.shape(port, 2)?;
    }
    let agent = site.agent()?;
    let _controller = site.controller(&["--queue", "1"])?;
    let singled_out = single_out(&site)?;
    let mut sent = BTreeMap::new();
    for port in PORTS {
        for (queue, packets) in site.switch.queues(port)? {
            *sent.entry(queue).or_insert(0) += packets;
        }
    }
    println!("queues: {sent:?}");
    ensure!(sent[&1] == singled_out && sent[&0] > 100, "{singled_out} by the meter, {sent:?} by the queues");
    agent.stop()?;
    Ok(())
}

/// Calls, and pages from a web server beside them; what the switch counts is the calls and nothing else. Gives how many
/// packets it singled out.
fn single_out(site: &Site) -> anyhow::Result<u64> {
    let (_answering, _web, taps) = (answering(site)?, web(site)?, site.taps()?);
    let seen = || Ok::<_, anyhow::Error>([passed(&taps[0])?, passed(&taps[1])?]);
    let speak = || -> anyhow::Result<()> {
        for mut call in calls(site, CALLS, Duration::from_secs(3))? {
            fetch(site)?;
            ends_well("a call", &mut call, Duration::from_secs(20))?;
        }
        Ok(())
    };
    // Both links have seen a packet that was singled out: the second one marked.
    let quiet = || {
        until("the same from meter and hosts", Duration::from_secs(10), || {
            let (seen, metered) = (seen()?, site.switch.meter()?.context("no meter")?);
            let marked = seen.concat().iter().filter(|packet| packet.dscp == EF).count() as u64;
            Ok((metered == Metered { packets: marked, dropped: 0 }).then_some((seen, marked)))
        })
        .with_context(|| format!("{:?}", site.switch.meter()))
    };

    // The telephones' first calls bring the labels, and these the entries.
    speak()?;
    let entered = until("the calls' entries", Duration::from_secs(20), || {
        Ok((site.counted()?.0 == ENTRIES).then_some(()))
    });
    entered.with_context(|| format!("{:?}", site.switch.entries()))?;
    latencies(site)?;
    let ((before, marked_before), (_, counted_before)) = (quiet()?, site.counted()?);

    // The next ones, of the same flows, are singled out from their first packet on.
    speak()?;
    let (seen, marked) = quiet()?;
    let next = [0_usize, 1].map(|link| &seen[link][before[link].len()..]).concat();
    let seen = seen.concat();
    let of_calls = next.iter().filter(|packet| packet.of_call()).count() as u64 / 2;
    let others = next.len() as u64 / 2 - of_calls;
    let counted = until("the entries' counts", Duration::from_secs(10), || {
        let (entries, counted) = site.counted()?;
        Ok((entries == ENTRIES && counted - counted_before == of_calls).then_some(counted))
    });
    println!("{of_calls} packets of calls, {} marked, beside {others} others", marked - marked_before);
    counted.with_context(|| format!("{counted_before} before; {:?}", site.switch.entries()))?;
    ensure!(
        marked - marked_before == of_calls && others > 100,
        "{} of {of_calls}, {others}",
        marked - marked_before
    );
    ensure!(seen.iter().all(|packet| packet.dscp == 0 || packet.dscp == EF && packet.of_call()));
    let ports = seen.iter().filter(|packet| packet.dscp == EF).map(|packet| packet.ports);
    ensure!(ports.collect::<BTreeSet<_>>().len() == ENTRIES, "both ways of each flow");
    Ok(marked)
}

/// Shows how long the entries were in coming, by the ages that switch and agent tell at one time.
fn latencies(site: &Site) -> anyhow::Result<()> {
    let ask = Asker::socket(&socket_of(&site.pins.0));
    let flows = ask.get("/v1/flows?class=realtime")?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let entries = site.switch.entries()?;
    for flow in flows["flows"].as_array().context("no list")? {
        let port = format!("tp_src={},", flow["src_port"]);
        let entry = entries.iter().find(|entry| entry.text.contains(&port));
        let (Some(entry), Some(first)) = (entry, flow["first_ts_ns"].as_u64()) else { continue };
        let age = now.saturating_sub(Duration::from_nanos(first));
        println!(
            "{} {}: entry {} ms after the first packet",
            flow["service"],
            flow["src_port"],
            age.as_millis() as i128 - entry.age.as_millis() as i128
        );
    }
    Ok(())
}
