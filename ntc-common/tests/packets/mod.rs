//! A tiny packet builder: link layers from the outside in, then IP, then TCP or UDP.
//!
//! Lengths and protocol numbers are right unless a test overwrites them. Checksums stay 0: the parser does
//! not look at them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ntc_common::{error::ParseError, link::LinkType, packet::Packet, parse, source::Captured};

pub const IPV4: u16 = 0x0800;
pub const IPV6: u16 = 0x86dd;
pub const DOT1Q: u16 = 0x8100;
pub const DOT1AD: u16 = 0x88a8;
pub const QINQ: u16 = 0x9100;
pub const MPLS: u16 = 0x8847;
pub const MPLS_MULTICAST: u16 = 0x8848;
pub const PPPOE_SESSION: u16 = 0x8864;

pub const HOP_BY_HOP: u8 = 0;
pub const ROUTING: u8 = 43;
pub const FRAGMENT: u8 = 44;
pub const AUTHENTICATION: u8 = 51;
pub const DESTINATION: u8 = 60;

pub const SYN: u8 = 0x02;
pub const ACK: u8 = 0x10;

/// The parser on a packet that was captured whole.
pub fn parse(link: LinkType, bytes: &[u8]) -> Result<Packet, ParseError> {
    parse_cut(link, bytes, bytes.len())
}

/// The parser on a packet of which a snap length left `bytes`.
pub fn parse_cut(link: LinkType, bytes: &[u8], wire_len: usize) -> Result<Packet, ParseError> {
    let mut packet = Packet::ZERO;
    parse::parse(&Captured::new(bytes, wire_len), link, &mut packet).map(|()| packet)
}

/// Where the layer that was written last names the one that follows.
#[derive(Clone, Copy, Debug)]
enum Naming {
    EtherType(usize),
    Ppp(usize),
    Nothing,
}

#[derive(Clone, Debug)]
enum Transport {
    Tcp { flags: u8, window: u16, options: usize },
    Udp,
    Other(u8),
}

#[derive(Clone, Debug)]
pub struct Builder {
    pub link: LinkType,
    before_ip: Vec<u8>,
    naming: Naming,
    source: SocketAddr,
    destination: SocketAddr,
    dscp: u8,
    ipv4_options: usize,
    extensions: Vec<(u8, Vec<u8>)>,
    transport: Transport,
    payload: usize,
    padding: usize,
    ip_patches: Vec<(usize, Vec<u8>)>,
    transport_patches: Vec<(usize, Vec<u8>)>,
}

impl Builder {
    fn new(link: LinkType, before_ip: &[u8], naming: Naming) -> Self {
        Self {
            link,
            before_ip: before_ip.to_vec(),
            naming,
            source: SocketAddr::from(([10, 0, 0, 2], 40000)),
            destination: SocketAddr::from(([192, 0, 2, 1], 443)),
            dscp: 0,
            ipv4_options: 0,
            extensions: Vec::new(),
            transport: Transport::Tcp { flags: ACK, window: 0x1234, options: 0 },
            payload: 0,
            padding: 0,
            ip_patches: Vec::new(),
            transport_patches: Vec::new(),
        }
    }

    pub fn ethernet() -> Self {
        Self::new(LinkType::Ethernet, &[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0, 0], Naming::EtherType(12))
    }

    pub fn raw_ip() -> Self {
        Self::new(LinkType::RawIp, &[], Naming::Nothing)
    }

    pub fn null(family: [u8; 4]) -> Self {
        Self::new(LinkType::Null, &family, Naming::Nothing)
    }

    pub fn ppp(framed: bool) -> Self {
        if framed {
            Self::new(LinkType::Ppp, &[0xff, 0x03, 0, 0], Naming::Ppp(2))
        } else {
            Self::new(LinkType::Ppp, &[0, 0], Naming::Ppp(0))
        }
    }

    pub fn cisco_hdlc() -> Self {
        Self::new(LinkType::CiscoHdlc, &[0x0f, 0, 0, 0], Naming::EtherType(2))
    }

    pub fn linux_sll() -> Self {
        let header = [0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0];
        Self::new(LinkType::LinuxSll, &header, Naming::EtherType(14))
    }

    pub fn linux_sll2() -> Self {
        let header = [0, 0, 0, 0, 0, 0, 0, 2, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0];
        Self::new(LinkType::LinuxSll2, &header, Naming::EtherType(0))
    }

    /// The packet of each link type.
    pub fn every_link() -> Vec<Self> {
        vec![
            Self::ethernet(),
            Self::raw_ip(),
            Self::null([2, 0, 0, 0]),
            Self::ppp(true),
            Self::ppp(false),
            Self::cisco_hdlc(),
            Self::linux_sll(),
            Self::linux_sll2(),
        ]
    }

    fn name(&mut self, ethertype: u16, ppp: u16) {
        let (at, number) = match self.naming {
            Naming::EtherType(at) => (at, ethertype),
            Naming::Ppp(at) => (at, ppp),
            Naming::Nothing => return,
        };
        self.before_ip[at..at + 2].copy_from_slice(&number.to_be_bytes());
    }

    pub fn tag(mut self, tpid: u16, tci: u16) -> Self {
        self.name(tpid, 0);
        self.before_ip.extend(tci.to_be_bytes());
        self.naming = Naming::EtherType(self.before_ip.len());
        self.before_ip.extend([0, 0]);
        self
    }

    pub fn pppoe(mut self) -> Self {
        self.name(PPPOE_SESSION, 0);
        self.before_ip.extend([0x11, 0, 0, 7, 0, 0]);
        self.naming = Naming::Ppp(self.before_ip.len());
        self.before_ip.extend([0, 0]);
        self
    }

    pub fn mpls(mut self, ethertype: u16, labels: usize) -> Self {
        self.name(ethertype, 0x0281);
        for label in 1..=labels {
            // All bits but the one that tells the bottom of the stack.
            self.before_ip.extend([0xff, 0xff, 0xfe | u8::from(label == labels), 0xff]);
        }
        self.naming = Naming::Nothing;
        self
    }

    pub fn v6(self) -> Self {
        let end = |last, port| SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, last], port));
        self.ends(end(1, 40000), end(2, 443))
    }

    pub fn ends(mut self, source: SocketAddr, destination: SocketAddr) -> Self {
        (self.source, self.destination) = (source, destination);
        self
    }

    /// The same packet, sent the other way.
    pub fn reply(self) -> Self {
        let (source, destination) = (self.source, self.destination);
        self.ends(destination, source)
    }

    pub fn dscp(mut self, dscp: u8) -> Self {
        self.dscp = dscp;
        self
    }

    /// `words` of four bytes.
    pub fn ipv4_options(mut self, words: usize) -> Self {
        self.ipv4_options = words * 4;
        self
    }

    /// An IPv6 extension header of `len` bytes.
    pub fn extension(mut self, kind: u8, len: usize) -> Self {
        let mut header = vec![0; len];
        header[1] = match kind {
            FRAGMENT => 0,
            AUTHENTICATION => (len / 4 - 2) as u8,
            _ => (len / 8 - 1) as u8,
        };
        self.extensions.push((kind, header));
        self
    }

    /// A fragment, its offset in units of 8 bytes. For IPv6 after [`v6`](Self::v6).
    pub fn fragment(mut self, offset: u16, more: bool) -> Self {
        if self.source.is_ipv4() {
            return self.at_ip(6, &(offset | u16::from(more) << 13).to_be_bytes());
        }
        self = self.extension(FRAGMENT, 8);
        if let Some((_, header)) = self.extensions.last_mut() {
            header[2..4].copy_from_slice(&(offset << 3 | u16::from(more)).to_be_bytes());
        }
        self
    }

    pub fn tcp(mut self, flags: u8, window: u16) -> Self {
        self.transport = Transport::Tcp { flags, window, options: 0 };
        self
    }

    /// TCP with `words` of options.
    pub fn tcp_options(mut self, words: usize) -> Self {
        self.transport = Transport::Tcp { flags: SYN, window: 0x1234, options: words * 4 };
        self
    }

    pub fn udp(mut self) -> Self {
        self.transport = Transport::Udp;
        self
    }

    /// Eight bytes of another protocol.
    pub fn protocol(mut self, number: u8) -> Self {
        self.transport = Transport::Other(number);
        self
    }

    pub fn payload(mut self, bytes: usize) -> Self {
        self.payload = bytes;
        self
    }

    /// Bytes after the IP packet, as Ethernet pads.
    pub fn padding(mut self, bytes: usize) -> Self {
        self.padding = bytes;
        self
    }

    /// Overwrites bytes from the IP header on.
    pub fn at_ip(mut self, offset: usize, bytes: &[u8]) -> Self {
        self.ip_patches.push((offset, bytes.to_vec()));
        self
    }

    /// Overwrites bytes from the transport header on.
    pub fn at_transport(mut self, offset: usize, bytes: &[u8]) -> Self {
        self.transport_patches.push((offset, bytes.to_vec()));
        self
    }

    /// Overwrites the length field of IP.
    pub fn ip_len_field(self, len: u16) -> Self {
        let offset = if self.source.is_ipv4() { 2 } else { 4 };
        self.at_ip(offset, &len.to_be_bytes())
    }

    /// Overwrites the length field of UDP.
    pub fn udp_len_field(self, len: u16) -> Self {
        self.at_transport(4, &len.to_be_bytes())
    }

    /// Bytes before the IP header.
    pub fn ip_offset(&self) -> usize {
        self.before_ip.len()
    }

    /// Bytes before the TCP or UDP header.
    pub fn transport_offset(&self) -> usize {
        let ip = if self.source.is_ipv4() { 20 + self.ipv4_options } else { 40 };
        self.ip_offset() + ip + self.extensions.iter().map(|(_, header)| header.len()).sum::<usize>()
    }

    /// Bytes that must have been captured: all headers, without TCP options.
    pub fn needed(&self) -> usize {
        self.transport_offset() + if matches!(self.transport, Transport::Tcp { .. }) { 20 } else { 8 }
    }

    pub fn build(&self) -> Vec<u8> {
        let mut whole = self.clone();
        whole.name(
            if self.source.is_ipv4() { IPV4 } else { IPV6 },
            if self.source.is_ipv4() { 0x0021 } else { 0x0057 },
        );
        let mut bytes = whole.before_ip;
        let (protocol, transport) = self.segment();
        match (self.source.ip(), self.destination.ip()) {
            (IpAddr::V4(s), IpAddr::V4(d)) => bytes.extend(self.ipv4(s, d, protocol, transport.len())),
            (IpAddr::V6(s), IpAddr::V6(d)) => bytes.extend(self.ipv6(s, d, protocol, transport.len())),
            _ => panic!("both ends have the same version"),
        }
        bytes.extend(transport);
        bytes.resize(bytes.len() + self.padding, 0xee);
        for (base, patches) in
            [(self.ip_offset(), &self.ip_patches), (self.transport_offset(), &self.transport_patches)]
        {
            for (offset, patch) in patches {
                bytes[base + offset..base + offset + patch.len()].copy_from_slice(patch);
            }
        }
        bytes
    }

    /// Parses what was built.
    pub fn parse(&self) -> Result<Packet, ParseError> {
        parse(self.link, &self.build())
    }

    fn segment(&self) -> (u8, Vec<u8>) {
        let mut bytes = Vec::new();
        bytes.extend(self.source.port().to_be_bytes());
        bytes.extend(self.destination.port().to_be_bytes());
        let protocol = match self.transport {
            Transport::Tcp { flags, window, options } => {
                bytes.extend([0, 0, 0, 1, 0, 0, 0, 2, ((20 + options) / 4 * 16) as u8, flags]);
                bytes.extend(window.to_be_bytes());
                bytes.resize(20 + options, 1);
                6
            }
            Transport::Udp => {
                bytes.extend(((8 + self.payload) as u16).to_be_bytes());
                bytes.extend([0, 0]);
                17
            }
            Transport::Other(number) => {
                bytes.extend([0; 4]);
                number
            }
        };
        bytes.resize(bytes.len() + self.payload, 0xaa);
        (protocol, bytes)
    }

    fn ipv4(&self, source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, segment: usize) -> Vec<u8> {
        let header_len = 20 + self.ipv4_options;
        let mut bytes = vec![0x40 | (header_len / 4) as u8, self.dscp << 2 | 1];
        bytes.extend(((header_len + segment) as u16).to_be_bytes());
        bytes.extend([0, 9, 0x40, 0, 64, protocol, 0, 0]);
        bytes.extend(source.octets());
        bytes.extend(destination.octets());
        bytes.resize(header_len, 1);
        bytes
    }

    fn ipv6(&self, source: Ipv6Addr, destination: Ipv6Addr, protocol: u8, segment: usize) -> Vec<u8> {
        let extensions: usize = self.extensions.iter().map(|(_, header)| header.len()).sum();
        let names: Vec<u8> = self.extensions.iter().map(|(kind, _)| *kind).chain([protocol]).collect();
        let traffic_class = self.dscp << 2 | 1;
        // The flow label is all ones: it must not leak into the code point.
        let mut bytes = vec![0x60 | traffic_class >> 4, traffic_class << 4 | 0x0f, 0xff, 0xff];
        bytes.extend(((extensions + segment) as u16).to_be_bytes());
        bytes.extend([names[0], 64]);
        bytes.extend(source.octets());
        bytes.extend(destination.octets());
        for ((_, header), next) in self.extensions.iter().zip(&names[1..]) {
            bytes.push(*next);
            bytes.extend(&header[1..]);
        }
        bytes
    }
}
