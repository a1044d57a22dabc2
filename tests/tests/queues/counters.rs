//! Counters of the qdisc and of ntc.

use anyhow::{Context as _, ensure};
use ntc_tests::skip;
use ntc_user::kernel::tables;
use serde_json::Value;

use crate::router::{COPY, FILM, FREE, Router, VOICE};

/// Port, datagrams, bytes of each.
const TRAFFIC: [(u16, usize, usize); 4] =
    [(VOICE, 40, 172), (FILM, 30, 1200), (COPY, 20, 1400), (FREE, 10, 100)];
/// Ethernet, IPv4 and UDP.
const HEADERS: usize = 14 + 20 + 8;
/// A question for a hardware address.
const ARP: u64 = 42;

/// Packets and bytes that ntc counted by class, by the policy's names.
fn counted(router: &Router, name: &str) -> anyhow::Result<(u64, u64)> {
    let counts = tables::counts(&router.pins.0)?;
    let class =
        counts.class_names.iter().position(|known| known.as_deref() == Some(name)).context("class")?;
    Ok((counts.classes[class].packets, counts.classes[class].bytes))
}

fn sent(port: u16) -> anyhow::Result<(u64, u64)> {
    let (_, datagrams, bytes) = TRAFFIC.into_iter().find(|traffic| traffic.0 == port).context("port")?;
    Ok((datagrams as u64, (datagrams * (bytes + HEADERS)) as u64))
}

#[test]
fn htb_and_ntc_count_the_same() -> anyhow::Result<()> {
    let router = Router::new("count-htb")?;
    router.queues(&[])?;
    let agent = router.agent()?;
    for (port, datagrams, bytes) in TRAFFIC {
        router.send(port, datagrams, bytes)?;
    }
    let classes = router.htb()?;
    for (name, port, minor) in [("voice", VOICE, 0x13), ("film", FILM, 0x14), ("copy", COPY, 0x16)] {
        let class = classes.iter().find(|class| class.0 == minor).context("class")?;
        ensure!((class.1, class.2) == sent(port)?, "{name}: the qdisc counted {class:?}");
        ensure!(counted(&router, name)? == sent(port)?, "{name}: ntc counted {:?}", counted(&router, name)?);
    }
    // The rest, and what asks for hardware addresses.
    let rest = classes.iter().find(|class| class.0 == 0x10).context("class")?;
    ensure!(rest.1 >= sent(FREE)?.0 && rest.1 < sent(FREE)?.0 + 10, "{rest:?}");
    agent.stop()?;
    Ok(())
}

#[test]
fn cake_s_tins_and_ntc_count_the_same() -> anyhow::Result<()> {
    let router = Router::new("count-cake")?;
    if let Err(error) = router.queues(&["--cake"]) {
        let said = error.to_string();
        ensure!(said.contains("has no CAKE"), "{said}");
        return Ok(skip("cake_s_tins_and_ntc_count_the_same", "this kernel has no CAKE")?);
    }
    let agent = router.agent()?;
    for (port, datagrams, bytes) in TRAFFIC {
        router.send(port, datagrams, bytes)?;
    }
    let told = router.router.output("tc", &["-s", "-j", "qdisc", "show", "dev", "r1", "root"])?;
    let told: Value = serde_json::from_str(&told)?;
    let cake = &told[0];
    ensure!(cake["kind"] == "cake" && cake["options"]["diffserv"] == "diffserv4", "{told}");
    // Bulk, best effort, video, voice.
    let tin = |index: usize| {
        let tin = &cake["tins"][index];
        (tin["sent_packets"].as_u64().unwrap_or(0), tin["sent_bytes"].as_u64().unwrap_or(0))
    };
    for (name, port, index) in [("copy", COPY, 0), ("film", FILM, 2), ("voice", VOICE, 3)] {
        // CAKE takes questions for hardware addresses for voice, too (`cake_handle_diffserv`).
        let (packets, bytes) = tin(index);
        let (of_class, asked) = (sent(port)?, packets - sent(port)?.0.min(packets));
        ensure!(asked <= if name == "voice" { 10 } else { 0 }, "{name}: CAKE counted {packets} of {told}");
        ensure!(
            (packets, bytes) == (of_class.0 + asked, of_class.1 + asked * ARP),
            "{name}: CAKE counted {packets} packets, {bytes} bytes of {told}"
        );
        ensure!(counted(&router, name)? == sent(port)?, "{name}: ntc counted {:?}", counted(&router, name)?);
    }
    ensure!(tin(1) == sent(FREE)?, "{:?} in best effort", tin(1));
    agent.stop()?;
    Ok(())
}
