//! What the far host sees: code point, checksums and class of every packet, for IPv4 and IPv6, TCP and UDP, small packets
//! and super-packets, from a router with and without NAT and from a host, over plain Ethernet, VLAN, QinQ and PPPoE.

#[path = "wire/frame.rs"]
mod frame;
#[path = "wire/send.rs"]
mod send;
#[path = "wire/site.rs"]
mod site;

use std::{
    io,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use ntc_common::ledger::Ledger;
use ntc_tests::{patience::patient, skip, tap::Tap};
use ntc_user::kernel::tables;

use crate::{
    frame::{Layer, OnWire},
    send::{Protocol, Size},
    site::{FREE, Line, Place, Site, VOICE},
};

const EF: u8 = 46;

/// Everything that is sent over one site.
fn cells() -> impl Iterator<Item = (u8, Protocol, Size, u16)> {
    [4, 6].into_iter().flat_map(|version| {
        [Protocol::Tcp, Protocol::Udp].into_iter().flat_map(move |protocol| {
            [Size::Small, Size::Super].into_iter().flat_map(move |size| {
                // Another port for each size: what of it is on the wire is told by the port.
                [VOICE, FREE].map(|ports| (version, protocol, size, ports[usize::from(size == Size::Super)]))
            })
        })
    })
}

fn voice_packets(site: &Site) -> anyhow::Result<(u64, Ledger)> {
    let counts = tables::counts(&site.pins.0)?;
    let class =
        counts.class_names.iter().position(|name| name.as_deref() == Some("voice")).context("voice")?;
    Ok((counts.classes[class].packets, counts.ledger))
}

fn all_over(line: Line, layers: &[Layer]) -> anyhow::Result<()> {
    for place in [Place::Router, Place::RouterNat, Place::Host] {
        let test = format!("wire: {line:?}, {place:?}");
        let site = match Site::build(line, place)? {
            Ok(site) => site,
            Err(lacks) => {
                skip(&test, &lacks)?;
                continue;
            }
        };
        let agent = site.agent()?;
        let folder = tempfile::tempdir()?;
        let tap = Tap::whole(&site.far, "f0", folder.path().join("f0.pcap"))?;
        for (version, protocol, size, port) in cells() {
            let cell = format!("{test}, IPv{version} {protocol:?} {size:?} port {port}");
            if let Err(error) = send::send(&site, version, protocol, size, port) {
                // Linux 6.1 hands a card that makes no checksums no super-packet of UDP's (`udp_send_skb`).
                let refused = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
                ensure!(
                    refused == Some(libc::EIO) && place == Place::Host && protocol == Protocol::Udp,
                    "{cell}: {error:#}"
                );
                skip(&cell, "this kernel cuts no super-packet of UDP's for a card without checksums")?;
                continue;
            }
            let payload = send::payload(size);
            let start = Instant::now();
            let seen = loop {
                let all: Vec<OnWire> = tap.frames()?.iter().filter_map(|bytes| OnWire::read(bytes)).collect();
                // Of all cells so far: what ends a connection may come while the next one begins. A router sends
                // answers on, in the same class; a host does not.
                let leaves = all.iter().filter(|packet| {
                    VOICE.contains(&packet.to) || (place != Place::Host && VOICE.contains(&packet.from))
                });
                let leaves = leaves.count() as u64;
                let of_cell = |packet: &OnWire| {
                    (packet.version, packet.protocol, packet.to) == (version, protocol, port)
                };
                let seen: Vec<OnWire> = all.into_iter().filter(of_cell).collect();
                let came: usize = seen.iter().map(|packet| packet.payload).sum();
                let counted = voice_packets(&site)?.0;
                // Its class is the one that was counted, packet by packet as they are on the wire.
                if came >= payload && counted == leaves {
                    break seen;
                }
                ensure!(
                    start.elapsed() < patient(Duration::from_secs(5)),
                    "{cell}: {came} of {payload} bytes came, {counted} packets were counted in the class, \
                     {leaves} left: {seen:?}"
                );
            };
            let dscp = if VOICE.contains(&port) { EF } else { 0 };
            for packet in &seen {
                ensure!(packet.layers == layers, "{cell}: over {:?}", packet.layers);
                ensure!(packet.dscp == dscp, "{cell}: code point {} in {packet:?}", packet.dscp);
                ensure!(packet.header_checksum, "{cell}: the IPv4 header's checksum is wrong: {packet:?}");
                ensure!(packet.checksum, "{cell}: the {protocol:?} checksum is wrong: {packet:?}");
                let translated = packet.source == site.outside(version);
                ensure!(
                    translated == (place != Place::Router),
                    "{cell}: from {}, not by NAT as it should",
                    packet.source
                );
            }
            ensure!(
                size == Size::Small || seen.iter().any(|packet| packet.payload > 1000),
                "{cell}: {seen:?}"
            );
        }
        let (_, ledger) = voice_packets(&site)?;
        ensure!(ledger.closes(), "{test}: {ledger:?}");
        if place == Place::Host && ledger.super_packets == 0 {
            // On the card itself there have to be some.
            ensure!(line != Line::Plain, "{test}: no super-packet: {ledger:?}");
            skip(&format!("{test}, super-packets"), "this kernel cuts them above such a device")?;
        }
        agent.stop()?;
    }
    Ok(())
}

#[test]
fn over_plain_ethernet() -> anyhow::Result<()> {
    all_over(Line::Plain, &[])
}

#[test]
fn over_a_vlan() -> anyhow::Result<()> {
    all_over(Line::Vlan, &[Layer::Tag(0x8100, 7)])
}

#[test]
fn over_qinq() -> anyhow::Result<()> {
    all_over(Line::QinQ, &[Layer::Tag(0x88a8, 5), Layer::Tag(0x8100, 7)])
}

#[test]
fn over_pppoe() -> anyhow::Result<()> {
    all_over(Line::Pppoe, &[Layer::Pppoe])
}
