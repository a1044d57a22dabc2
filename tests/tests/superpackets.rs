//! Super-packets (GSO, GRO): what leaves and passes in one buffer is recorded as the packets that a tap on the link
//! sees behind it.
//!
//! ```text
//!  host or router        link (bridge)       peer
//!  [r0: ntc]------------[m0   m1: tap]------[p0]
//!  [r1]---[s0] server
//! ```
//!
//! `m1` and `p0` have TSO and USO off and GSO on, so that the tap sees segments in both directions.

#[path = "superpackets/model.rs"]
mod model;
#[path = "superpackets/net.rs"]
mod net;
#[path = "superpackets/same.rs"]
mod same;
#[path = "superpackets/traffic.rs"]
mod traffic;

use anyhow::ensure;
use ntc_tests::net::Namespace;
use rustix::thread::{CpuSet, sched_getcpu, sched_setaffinity};

use net::{HOST, Link, Offloads, PEER, SERVER};
use same::Live;

/// The offloads of the captured interfaces.
const OFFLOADS: [Offloads; 4] = [
    Offloads { tso: true, gso: true, gro: true },
    Offloads { tso: true, gso: true, gro: false },
    Offloads { tso: false, gso: true, gro: true },
    Offloads { tso: false, gso: false, gro: false },
];

/// Where two processors forward, acknowledgements overtake each other, and two places on a path see them in another
/// order. So one does all: what a thread and its children send is handled on the processor that they run on. A timer may
/// still fire on another, so a difference must come three times.
fn tried(scenario: impl Fn() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut here = CpuSet::new();
    here.set(sched_getcpu());
    sched_setaffinity(None, &here)?;
    scenario().or_else(|_| scenario()).or_else(|_| scenario())
}

#[test]
fn a_host_sends_and_receives_what_the_tap_sees() -> anyhow::Result<()> {
    tried(|| {
        for offloads in OFFLOADS {
            let host = Namespace::new()?;
            let link = Link::new(&host)?;
            let mut live = Live::start(&host, &["r0"])?;
            offloads.set(&host, "r0")?;
            let tap = link.tap()?;
            traffic::all(&host, HOST, &link.peer, PEER)?;
            let ledger = live.until_same(&tap)?;
            println!("host, {offloads:?}: {ledger:?}");
            // TCP makes super-packets whatever the device can do; they are divided behind tc.
            ensure!(ledger.super_packets > 0 && ledger.unsplit == 0, "{offloads:?}: {ledger:?}");
        }
        Ok(())
    })
}

#[test]
fn a_router_forwards_what_the_tap_sees() -> anyhow::Result<()> {
    tried(|| {
        for captured in [&["r0"][..], &["r0", "r1"]] {
            for offloads in OFFLOADS {
                let (router, server) = (Namespace::new()?, Namespace::new()?);
                let link = Link::new(&router)?;
                net::server(&router, &server, &link.peer)?;
                let mut live = Live::start(&router, captured)?;
                for interface in ["r0", "r1"] {
                    offloads.set(&router, interface)?;
                }
                // Not where XDP is on the other end.
                let sends_large = captured.len() == 1 && offloads.tso;
                Offloads { tso: sends_large, gso: true, gro: true }.set(&server, "s0")?;
                let tap = link.tap()?;
                traffic::all(&server, SERVER, &link.peer, PEER)?;
                let ledger = live.until_same(&tap)?;
                println!("router capturing {captured:?}, {offloads:?}: {ledger:?}");
                // XDP comes before GRO. What the server sends large, or GRO makes large, leaves large by r0.
                let large = captured.len() == 1 && (offloads.tso || offloads.gro);
                ensure!((ledger.super_packets > 0) == large, "{captured:?}, {offloads:?}: {ledger:?}");
                ensure!(ledger.unsplit == 0, "{captured:?}, {offloads:?}: {ledger:?}");
            }
        }
        Ok(())
    })
}

#[test]
fn a_tunnels_segments_are_what_the_tap_sees() -> anyhow::Result<()> {
    tried(|| {
        let host = Namespace::new()?;
        let link = Link::new(&host)?;
        net::tunnel(&host, &link.peer)?;
        let mut live = Live::start(&host, &["r0"])?;
        let tap = link.tap()?;
        traffic::upload(&host, net::TUNNEL_HOST, &link.peer, net::TUNNEL_PEER, 300_000)?;
        let ledger = live.until_same(&tap)?;
        println!("{ledger:?}");
        ensure!(ledger.super_packets > 0 && ledger.unsplit == 0, "{ledger:?}");
        Ok(())
    })
}

#[test]
fn packets_of_more_than_64_kib_are_what_the_tap_sees() -> anyhow::Result<()> {
    tried(|| {
        let host = Namespace::new()?;
        let link = Link::new(&host)?;
        link.ipv6(&host)?;
        net::big(&host, "r0", 185_000)?;
        let mut live = Live::start(&host, &["r0"])?;
        Offloads { tso: true, gso: true, gro: true }.set(&host, "r0")?;
        let tap = link.tap()?;
        let mut before = 0;
        for (from, to) in [(HOST, PEER), (net::HOST6, net::PEER6)] {
            traffic::upload(&host, from, &link.peer, to, 8_000_000)?;
            let ledger = live.until_same(&tap)?;
            println!("{from}: {ledger:?}");
            ensure!(ledger.zero_ip_len > before && ledger.unsplit == 0, "{from}: {ledger:?}");
            before = ledger.zero_ip_len;
        }
        Ok(())
    })
}

#[test]
fn a_virtual_machines_packets_are_what_the_tap_sees() -> anyhow::Result<()> {
    let router = Namespace::new()?;
    let link = Link::new(&router)?;
    let mut guest = net::Guest::new(&router)?;
    // Packets begin with the IP header: tc ingress accounts, and nobody has counted the segments.
    let mut live = Live::start(&router, &["tun0"])?;
    let tap = link.tap()?;
    const FIN_PSH_ACK_CWR: u8 = 0x99;
    for (payload_len, segment_len, flags) in
        [(0, 0, 0x10), (1000, 1000, 0x18), (2001, 1000, 0x18), (12_345, 700, FIN_PSH_ACK_CWR)]
    {
        guest.send(payload_len, segment_len, flags)?;
    }
    let ledger = live.until_same(&tap)?;
    println!("{ledger:?}");
    ensure!(ledger.super_packets == 2 && ledger.unsplit == 0, "{ledger:?}");
    ensure!(ledger.seen - ledger.not_flow_total() == 1 + 1 + 3 + 18, "{ledger:?}");
    Ok(())
}
