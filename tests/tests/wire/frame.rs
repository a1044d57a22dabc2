//! A frame as the far host got it, read without ntc's parser.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ntc_tests::frames::checksum;

use crate::send::Protocol;

/// Between Ethernet and IP, from the outside in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// EtherType and VLAN.
    Tag(u16, u16),
    Pppoe,
}

#[derive(Clone, Debug)]
pub struct OnWire {
    pub layers: Vec<Layer>,
    pub version: u8,
    pub protocol: Protocol,
    pub source: IpAddr,
    pub from: u16,
    pub to: u16,
    pub dscp: u8,
    pub payload: usize,
    pub header_checksum: bool,
    pub checksum: bool,
}

impl OnWire {
    /// `None`: neither TCP nor UDP.
    pub fn read(frame: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u16::from_be_bytes(*frame.get(at..)?.first_chunk()?));
        let (mut at, mut layers) = (12, Vec::new());
        let ethertype = loop {
            match word(at)? {
                tag @ (0x8100 | 0x88a8) => {
                    layers.push(Layer::Tag(tag, word(at + 2)? & 0xfff));
                    at += 4;
                }
                0x8864 => {
                    layers.push(Layer::Pppoe);
                    // Behind six bytes of PPPoE the protocol of PPP.
                    at += 8;
                    break match word(at)? {
                        0x0021 => 0x0800,
                        0x0057 => 0x86dd,
                        other => other,
                    };
                }
                ethertype => break ethertype,
            }
        };
        let ip = frame.get(at + 2..)?;
        let (dscp, number, header, length, source, pseudo) = match ethertype {
            0x0800 => {
                let header = usize::from(ip.first()? & 0xf) * 4;
                let length = usize::from(u16::from_be_bytes(*ip.get(2..)?.first_chunk()?));
                let source: [u8; 4] = *ip.get(12..)?.first_chunk()?;
                (ip[1] >> 2, ip[9], header, length, Ipv4Addr::from(source).into(), ip.get(12..20)?)
            }
            0x86dd => {
                let length = 40 + usize::from(u16::from_be_bytes(*ip.get(4..)?.first_chunk()?));
                let source: [u8; 16] = *ip.get(8..)?.first_chunk()?;
                let class = ip[0] << 4 | ip[1] >> 4;
                (class >> 2, *ip.get(6)?, 40, length, Ipv6Addr::from(source).into(), ip.get(8..40)?)
            }
            _ => return None,
        };
        let transport = ip.get(header..length)?;
        let (protocol, behind) = match number {
            6 => (Protocol::Tcp, usize::from(transport.get(12)? >> 4) * 4),
            17 => (Protocol::Udp, 8),
            _ => return None,
        };
        let mut summed = pseudo.to_vec();
        summed.extend_from_slice(&(transport.len() as u32).to_be_bytes());
        summed.extend_from_slice(&[0, 0, 0, number]);
        summed.extend_from_slice(transport);
        Some(Self {
            layers,
            version: if ethertype == 0x0800 { 4 } else { 6 },
            protocol,
            source,
            from: u16::from_be_bytes(*transport.first_chunk()?),
            to: u16::from_be_bytes(*transport.get(2..)?.first_chunk()?),
            dscp,
            payload: transport.len().checked_sub(behind)?,
            header_checksum: ethertype != 0x0800 || checksum(&ip[..header]) == 0,
            checksum: checksum(&summed) == 0,
        })
    }
}
