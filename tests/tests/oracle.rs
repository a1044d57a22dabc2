//! The labelled captures as an oracle: with the rule by which they were cut, ntc finds exactly their flows.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    net::IpAddr,
};

use anyhow::{Context as _, ensure};
use ntc_common::flow::FlowRule;
use ntc_tests::corpus;
use ntc_user::{capture::file::find_captures, offline};

/// (capture, source, destination, protocol, first packet in us)
type Name = (String, (IpAddr, u16), (IpAddr, u16), u8, u64);

#[test]
fn the_listed_flows_are_found_and_no_others() -> anyhow::Result<()> {
    let Some(corpus) = corpus::open("oracle")? else { return Ok(()) };
    let mut reader = csv::Reader::from_reader(zstd::Decoder::new(File::open(&corpus.labels)?)?);
    let columns: HashMap<String, usize> =
        reader.headers()?.iter().enumerate().map(|(i, name)| (name.to_owned(), i)).collect();
    let mut listed: HashMap<Name, u64> = HashMap::new();
    for row in reader.records() {
        let row = row?;
        let field = |name: &str| row.get(columns[name]).with_context(|| format!("no column {name}"));
        let end = |ip: &str, port: &str| anyhow::Ok((field(ip)?.parse()?, field(port)?.parse()?));
        let name = (
            field("capture")?.to_owned(),
            end("src_ip", "src_port")?,
            end("dst_ip", "dst_port")?,
            field("proto")?.parse()?,
            field("first_ts_us")?.parse()?,
        );
        listed.insert(name, field("n_kept")?.parse()?);
    }

    let files = find_captures(&[corpus.captures])?;
    let (mut found, mut other_count, mut strangers) = (HashSet::new(), 0, 0);
    let outcome = offline::read(&files, FlowRule::CORPUS, |capture, flow| {
        let end = |address: std::net::SocketAddr| (address.ip(), address.port());
        let name = (
            capture.to_owned(),
            end(flow.id.source()),
            end(flow.id.destination()),
            flow.id.key.protocol,
            flow.id.start_ns / 1000,
        );
        match listed.get(&name) {
            Some(kept) => other_count += u64::from(*kept != flow.state.packets.iter().sum::<u64>()),
            None => strangers += 1,
        }
        found.insert(name);
        anyhow::Ok(())
    })?;
    let missing = listed.keys().filter(|name| !found.contains(*name)).count() as u64;
    println!(
        "{} listed, {missing} missing, {strangers} others, {other_count} with another count of packets; \
         packets of no flow: {:?}",
        listed.len(),
        ntc_user::event::LedgerView::from(&outcome.ledger).reasons
    );
    let flows = listed.len() as u64;
    ensure!(flows == 81_955, "the list itself has {flows} flows");
    ensure!(missing + other_count <= flows / 1000, "{missing} missing, {other_count} otherwise");
    ensure!(strangers <= flows / 1000, "{strangers} flows that are not listed");
    // Each difference: 12 packets contradict their own lengths, and the kernel would drop them, too. The flows
    // they would have been in lack one packet each.
    ensure!((missing, strangers) == (0, 0) && other_count == outcome.ledger.not_flow_total());
    ensure!(outcome.ledger.closes());
    Ok(())
}
