//! What kinds of flood there are, and the frame that each begins from.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::Result;
use clap::ValueEnum;
use serde::Serialize;

use crate::run::net::SERVER_V4;

/// Port of the server's that listens, for SYN floods.
pub(super) const OPEN_PORT: u16 = 8080;
/// Port of the server's that does not.
const CLOSED_PORT: u16 = 81;
/// Receivers of what is not for the server: the net kept for benchmarks. The router drops what goes there, behind
/// ntc's programs, so that the rate is not that of forwarding.
pub(super) const SPRAYED: [&str; 2] = ["198.18.0.0/15", "2001:db8:5::/48"];
const SPRAYED_V4: [u8; 4] = [198, 18, 0, 1];
const SPRAYED_V6: &str = "2001:db8:5::1";
/// Bytes of a template; the programs take the first 64 of it or all.
pub(super) const TEMPLATE: usize = 160;
/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;

/// A kind of hostile traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// SYN from spoofed senders to a port that answers
    SynOpen,
    /// SYN from spoofed senders to a port that refuses
    SynClosed,
    /// UDP with random addresses and ports on both sides
    UdpSpray,
    /// IPv4 fragments whose rest never comes
    Fragments,
    /// IHL, total length, TCP offset or UDP length that lie
    BadLengths,
    /// IPv6 with up to 15 extension headers
    Ipv6Chains,
}

impl Kind {
    /// All, in the order in which they are run.
    pub(crate) const ALL: [Self; 6] =
        [Self::SynOpen, Self::SynClosed, Self::UdpSpray, Self::Fragments, Self::BadLengths, Self::Ipv6Chains];

    /// Name on the command line and in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SynOpen => "syn-open",
            Self::SynClosed => "syn-closed",
            Self::UdpSpray => "udp-spray",
            Self::Fragments => "fragments",
            Self::BadLengths => "bad-lengths",
            Self::Ipv6Chains => "ipv6-chains",
        }
    }

    /// The program of `ntc-ebpf/src/bin/flood.rs` that makes its frames.
    pub(super) fn program(self) -> &'static str {
        match self {
            Self::SynOpen | Self::SynClosed => "flood_syn",
            Self::UdpSpray => "flood_udp",
            Self::Fragments => "flood_fragments",
            Self::BadLengths => "flood_bad_lengths",
            Self::Ipv6Chains => "flood_ipv6_chains",
        }
    }

    /// Length of its frames.
    pub(super) fn frame_len(self) -> usize {
        if self == Self::Ipv6Chains { TEMPLATE } else { 64 }
    }

    /// The frame before the parts that the program varies. What the program writes in any case is 0 here.
    pub(super) fn template(self, receiver: [u8; 6], sender: [u8; 6]) -> Result<[u8; TEMPLATE]> {
        let mut frame = vec![];
        frame.extend(receiver);
        frame.extend(sender);
        match self {
            Self::SynOpen => syn(&mut frame, OPEN_PORT)?,
            Self::SynClosed => syn(&mut frame, CLOSED_PORT)?,
            Self::UdpSpray | Self::Fragments | Self::BadLengths => udp(&mut frame),
            Self::Ipv6Chains => ipv6(&mut frame)?,
        }
        let mut template = [0; TEMPLATE];
        template.iter_mut().zip(frame).for_each(|(to, byte)| *to = byte);
        Ok(template)
    }
}

fn ipv4(frame: &mut Vec<u8>, protocol: u8, total_len: usize, receiver: [u8; 4]) {
    frame.extend([0x08, 0x00, 0x45, 0]);
    frame.extend((total_len as u16).to_be_bytes());
    frame.extend([0, 0, 0, 0, 64, protocol, 0, 0]);
    frame.extend([10, 0, 0, 0]);
    frame.extend(receiver);
}

fn syn(frame: &mut Vec<u8>, port: u16) -> Result<()> {
    ipv4(frame, 6, 40, SERVER_V4.parse::<Ipv4Addr>()?.octets());
    frame.extend([0, 0]);
    frame.extend(port.to_be_bytes());
    // Sequence and acknowledgment, header length and SYN, window, checksum, urgent pointer.
    frame.extend([0, 0, 0, 0, 0, 0, 0, 0, 5 << 4, 0x02, 0xfa, 0xf0, 0, 0, 0, 0]);
    Ok(())
}

/// 50 bytes: as much as the frame holds. Checksum 0 means that there is none.
fn udp(frame: &mut Vec<u8>) {
    ipv4(frame, 17, 64 - ETHERNET, SPRAYED_V4);
    frame.extend([0, 0, 0, 53, 0, 30, 0, 0]);
    // Where the protocol is made TCP: header length and flags.
    frame.extend([0, 0, 0, 0, 5 << 4, 0x10]);
}

fn ipv6(frame: &mut Vec<u8>) -> Result<()> {
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
    frame.extend(((TEMPLATE - ETHERNET - 40) as u16).to_be_bytes());
    frame.extend([0, 64]);
    frame.extend("2001:db8:bad::".parse::<Ipv6Addr>()?.octets());
    frame.extend(SPRAYED_V6.parse::<Ipv6Addr>()?.octets());
    Ok(())
}
