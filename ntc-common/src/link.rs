//! From the link header to the network header.

use crate::{
    error::ParseError,
    limits::{MAX_MPLS_LABELS, MAX_VLAN_TAGS},
    packet::NO_VLAN,
    source::PacketSource,
};

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPE_8021Q: u16 = 0x8100;
const ETHERTYPE_8021AD: u16 = 0x88a8;
/// Tag protocol of pre-standard QinQ, still sent by switches.
const ETHERTYPE_QINQ: u16 = 0x9100;
const ETHERTYPE_MPLS: u16 = 0x8847;
const ETHERTYPE_MPLS_MULTICAST: u16 = 0x8848;
const ETHERTYPE_PPPOE_SESSION: u16 = 0x8864;

const PPP_IPV4: u16 = 0x0021;
const PPP_IPV6: u16 = 0x0057;

/// How a packet begins. Numbers in brackets are the LINKTYPE_ values of capture files
/// (<https://www.tcpdump.org/linktypes.html>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkType {
    /// Ethernet \[1\].
    Ethernet,
    /// No link header: tun, WireGuard, PPP devices, raw IP \[12, 101, 228, 229\].
    RawIp,
    /// BSD loopback: four bytes of address family in the byte order of the capturing machine \[0\].
    Null,
    /// PPP, with or without HDLC-like framing \[9\].
    Ppp,
    /// Cisco HDLC \[104\].
    CiscoHdlc,
    /// Linux cooked capture \[113\].
    LinuxSll,
    /// Linux cooked capture, second version \[276\].
    LinuxSll2,
}

impl LinkType {
    /// The link type of a LINKTYPE_ number.
    ///
    /// # Errors
    /// [`ParseError::UnknownLink`] for a number that ntc does not read.
    pub const fn from_linktype(number: u16) -> Result<Self, ParseError> {
        Ok(match number {
            0 => Self::Null,
            1 => Self::Ethernet,
            9 => Self::Ppp,
            12 | 101 | 228 | 229 => Self::RawIp,
            104 => Self::CiscoHdlc,
            113 => Self::LinuxSll,
            276 => Self::LinuxSll2,
            _ => return Err(ParseError::UnknownLink),
        })
    }
}

/// Where the network header begins, and what it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Network {
    pub offset: usize,
    pub version: IpVersion,
    /// Outermost VLAN id, or [`NO_VLAN`].
    pub vlan: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IpVersion {
    V4,
    V6,
}

#[inline(always)]
pub(crate) fn network<S: PacketSource>(source: &S, link: LinkType) -> Result<Network, ParseError> {
    match link {
        LinkType::Ethernet => ethertype(source, read_u16(source, 12)?, 14),
        LinkType::RawIp => by_version(source, 0, NO_VLAN),
        LinkType::CiscoHdlc => ethertype(source, read_u16(source, 2)?, 4),
        LinkType::LinuxSll => ethertype(source, read_u16(source, 14)?, 16),
        LinkType::LinuxSll2 => ethertype(source, read_u16(source, 0)?, 20),
        LinkType::Null => {
            let family: [u8; 4] = source.read(0).ok_or(ParseError::TruncatedLink)?;
            // AF_INET is 2 everywhere; AF_INET6 is 10 on Linux, 24, 28 or 30 on the BSDs and macOS. All
            // fit in a byte, which stands first or last as the capturing machine's byte order has it.
            match family {
                [f, 0, 0, 0] | [0, 0, 0, f] if f == 2 || f == 10 || f == 24 || f == 28 || f == 30 => {
                    by_version(source, 4, NO_VLAN)
                }
                _ => Err(ParseError::NotIp),
            }
        }
        LinkType::Ppp => {
            // RFC 1662: address 0xff and control 0x03 may be there or compressed away.
            let framed = read_u16(source, 0)? == 0xff03;
            let offset = if framed { 2 } else { 0 };
            ppp(source, offset, NO_VLAN)
        }
    }
}

/// Walks tags, PPPoE and MPLS from an EtherType to the IP header.
#[inline(always)]
fn ethertype<S: PacketSource>(source: &S, first: u16, start: usize) -> Result<Network, ParseError> {
    let (mut protocol, mut offset, mut vlan) = (first, start, NO_VLAN);
    for _ in 0..MAX_VLAN_TAGS {
        if !is_tag(protocol) {
            break;
        }
        let tag: [u8; 4] = source.read(offset).ok_or(ParseError::TruncatedLink)?;
        if vlan == NO_VLAN {
            vlan = u16::from_be_bytes([tag[0], tag[1]]) & 0x0fff;
        }
        protocol = u16::from_be_bytes([tag[2], tag[3]]);
        offset += 4;
    }
    match protocol {
        ETHERTYPE_IPV4 => Ok(Network { offset, version: IpVersion::V4, vlan }),
        ETHERTYPE_IPV6 => Ok(Network { offset, version: IpVersion::V6, vlan }),
        // RFC 2516: version and type 0x11, code 0 (session data), session id, length; then PPP.
        ETHERTYPE_PPPOE_SESSION => {
            if read_u16(source, offset)? != 0x1100 {
                return Err(ParseError::NotIp);
            }
            ppp(source, offset + 6, vlan)
        }
        ETHERTYPE_MPLS | ETHERTYPE_MPLS_MULTICAST => mpls(source, offset, vlan),
        _ if is_tag(protocol) => Err(ParseError::TooManyTags),
        _ => Err(ParseError::NotIp),
    }
}

#[inline(always)]
const fn is_tag(protocol: u16) -> bool {
    matches!(protocol, ETHERTYPE_8021Q | ETHERTYPE_8021AD | ETHERTYPE_QINQ)
}

#[inline(always)]
fn ppp<S: PacketSource>(source: &S, offset: usize, vlan: u16) -> Result<Network, ParseError> {
    let version = match read_u16(source, offset)? {
        PPP_IPV4 => IpVersion::V4,
        PPP_IPV6 => IpVersion::V6,
        _ => return Err(ParseError::NotIp),
    };
    Ok(Network { offset: offset + 2, version, vlan })
}

/// RFC 3032: the stack names no payload; IP is told by its version nibble, as routers do.
#[inline(always)]
fn mpls<S: PacketSource>(source: &S, start: usize, vlan: u16) -> Result<Network, ParseError> {
    let mut offset = start;
    for _ in 0..MAX_MPLS_LABELS {
        let label: [u8; 4] = source.read(offset).ok_or(ParseError::TruncatedLink)?;
        offset += 4;
        let bottom_of_stack = label[2] & 1 == 1;
        if bottom_of_stack {
            return by_version(source, offset, vlan);
        }
    }
    Err(ParseError::TooManyLabels)
}

#[inline(always)]
fn by_version<S: PacketSource>(source: &S, offset: usize, vlan: u16) -> Result<Network, ParseError> {
    let first: u8 = source.read(offset).ok_or(ParseError::TruncatedIp)?;
    let version = match first >> 4 {
        4 => IpVersion::V4,
        6 => IpVersion::V6,
        _ => return Err(ParseError::NotIp),
    };
    Ok(Network { offset, version, vlan })
}

#[inline(always)]
fn read_u16<S: PacketSource>(source: &S, offset: usize) -> Result<u16, ParseError> {
    match source.read::<[u8; 2]>(offset) {
        Some(bytes) => Ok(u16::from_be_bytes(bytes)),
        None => Err(ParseError::TruncatedLink),
    }
}
