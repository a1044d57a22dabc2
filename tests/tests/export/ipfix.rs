//! IPFIX, decoded by tshark and nfdump.

use std::{
    collections::BTreeSet,
    io::Read as _,
    net::{SocketAddr, TcpListener},
    path::Path,
    process::Stdio,
};

use anyhow::{Context as _, ensure};
use ntc_tests::{
    link::{Link, of_port},
    running::Running,
    tap::Tap,
    unpacked::COLLECTORS,
};
use ntc_user::catalogue::Catalogue;

use crate::{export, until};

const PORT: u16 = 4739;

/// A flow's record, as tshark reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Record {
    port: u16,
    /// From the source and to it.
    packets: [u64; 2],
    octets: [u64; 2],
    end_reason: u8,
    /// Its application's id, without the engine.
    application: String,
    domain: u32,
}

/// All that are in a capture.
fn records(capture: &Path) -> anyhow::Result<Vec<Record>> {
    let fields = ["srcport", "packets", "octets", "flow_end_reason", "appl_id.selector_id", "od_id"];
    let fields = fields.iter().flat_map(|field| ["-e".to_owned(), format!("cflow.{field}")]);
    let output = COLLECTORS
        .here("tshark")
        .args(["-d", "tcp.port==4739,cflow", "-r"])
        .arg(capture)
        .args(["-T", "fields", "-E", "separator=;"])
        .args(fields)
        .output()?;
    // A capture that still grows may end in the middle of a packet: what is before that counts.
    let mut records = Vec::new();
    for message in String::from_utf8(output.stdout)?.lines() {
        let fields: Vec<Vec<&str>> = message.split(';').map(|field| field.split(',').collect()).collect();
        let [ports, packets, octets, reasons, applications, domains] = &fields[..] else { continue };
        for (i, port) in ports.iter().enumerate().filter(|(_, port)| !port.is_empty()) {
            let both = |values: &[&str]| anyhow::Ok([values[2 * i].parse()?, values[2 * i + 1].parse()?]);
            records.push(Record {
                port: port.parse()?,
                packets: both(packets)?,
                octets: both(octets)?,
                end_reason: reasons[i].parse()?,
                application: applications[i].into(),
                domain: domains[0].parse()?,
            });
        }
    }
    Ok(records)
}

/// The selector of a service's application id, as tshark shows it.
fn application(service: &str) -> anyhow::Result<String> {
    let service = Catalogue::shipped().by_name(service).context("in the catalogue")?;
    Ok(format!("{:06x}", service.id))
}

#[test]
fn collectors_decode_flows_with_both_directions_service_and_confidence() -> anyhow::Result<()> {
    if !COLLECTORS.at_hand("collectors_decode_flows_with_both_directions_service_and_confidence")? {
        return Ok(());
    }
    let link = Link::new("export-udp")?;
    let folder = tempfile::tempdir()?;
    let (capture, flows) = (folder.path().join("lo.pcap"), folder.path().join("flows"));
    std::fs::create_dir(&flows)?;
    let tap = Tap::whole(&link.agent_side, "lo", capture.clone())?;
    let nfcapd = COLLECTORS
        .inside(&link.agent_side, "nfcapd")
        .args(["-b", "127.0.0.1", "-p", &PORT.to_string(), "-t", "3600", "-w"])
        .arg(&flows)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let nfcapd = Running(nfcapd);
    let mut agent = link.agent(&["--export", "ipfix+udp://127.0.0.1?active=2&domain=7&enterprise=4242"])?;
    link.exchange(41_001)?;
    link.first_packets(41_002, 5)?;
    let label = agent.until(of_port(41_002))?;
    // One is over after ten seconds; both are told of before, since they have been there for two.
    let records = until("the end of the closed flow", || {
        let records = records(&capture)?;
        Ok(records.iter().any(|record| record.end_reason == 3).then_some(records))
    })?;
    let export = export(&link)?;
    ensure!(
        export["connected"] == true && export["lost"] == 0 && export["sent"].as_u64() >= Some(3),
        "{export}"
    );
    agent.stop()?;
    drop((nfcapd, tap));
    let told = |port: u16| records.iter().filter(move |record| record.port == port).cloned();
    let goes_on: Vec<_> = told(41_002).collect();
    ensure!(goes_on.len() == 1, "{goes_on:?}");
    let Record { packets, octets, end_reason, domain, .. } = goes_on[0];
    // Headers of 40 bytes, 78 and 900 of payload.
    ensure!((packets, octets) == ([3, 2], [3 * 40 + 78, 2 * 40 + 900]), "{goes_on:?}");
    ensure!((end_reason, domain) == (2, 7), "{goes_on:?}");
    let sum = told(41_001).fold([0, 0], |sum, record| [0, 1].map(|i| sum[i] + record.packets[i]));
    ensure!(sum == [5, 3], "deltas add up: {records:?}");

    let whole = COLLECTORS.here("tshark").args(["-V", "-r"]).arg(&capture).output()?;
    let whole = String::from_utf8(whole.stdout)?;
    let service = label["service"].as_str().unwrap_or_default();
    ensure!(whole.contains(&format!("ApplicationName: {service}")), "{service} is named");
    for word in ["(4242)", "BYTES [Reverse]", "PKTS [Reverse]", "biflowDirection", "APPLICATION_ID"] {
        ensure!(whole.contains(word), "{word}");
    }
    ensure!(goes_on[0].application == application(service)?, "{service}: {goes_on:?}");

    let dumped = COLLECTORS
        .here("nfdump")
        .arg("-R")
        .arg(&flows)
        .args(["-q", "-o", "fmt:%sp %dp %pkt %opkt %byt %obyt"])
        .output()?;
    let dumped = String::from_utf8(dumped.stdout)?;
    let mut flows = dumped.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    ensure!(flows.any(|words| words.starts_with(&["41002", "80", "3", "2"])), "{dumped}");
    Ok(())
}

#[test]
fn a_collector_that_breaks_off_and_comes_back_gets_every_flow() -> anyhow::Result<()> {
    if !COLLECTORS.at_hand("a_collector_that_breaks_off_and_comes_back_gets_every_flow")? {
        return Ok(());
    }
    let link = Link::new("export-tcp")?;
    let folder = tempfile::tempdir()?;
    let capture = folder.path().join("lo.pcap");
    let tap = Tap::whole(&link.agent_side, "lo", capture.clone())?;
    let listen =
        || link.agent_side.enter(|| Ok(TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], PORT)))?));
    let listener = listen()?;
    let mut agent = link.agent(&["--export", "ipfix+tcp://127.0.0.1"])?;
    let (mut stream, _) = listener.accept()?;
    let mut bytes = [0; 4096];
    ensure!(stream.read(&mut bytes)? > 0 && bytes[..2] == [0, 10], "templates come first");
    link.exchange(41_001)?;
    agent.until(of_port(41_001))?;
    // Nobody is there when the first flow ends.
    drop((stream, listener));
    link.exchange(41_002)?;
    agent.until(of_port(41_002))?;
    until("a failure", || Ok((export(&link)?["failures"].as_u64() > Some(0)).then_some(())))?;
    let listener = listen()?;
    let (mut stream, _) = listener.accept()?;
    let reader = std::thread::spawn(move || std::io::copy(&mut stream, &mut std::io::sink()));
    until("both flows", || {
        let export = export(&link)?;
        Ok((export["connected"] == true && export["sent"].as_u64() >= Some(2)).then_some(()))
    })?;
    ensure!(export(&link)?["lost"] == 0);
    link.first_packets(41_003, 5)?;
    agent.until(of_port(41_003))?;
    agent.stop()?;
    let _ = reader.join();
    until("all three flows", || {
        let ports: BTreeSet<u16> = records(&capture)?.iter().map(|record| record.port).collect();
        Ok([41_001, 41_002, 41_003].iter().all(|port| ports.contains(port)).then_some(()))
    })?;
    drop(tap);
    Ok(())
}
