//! Packets made to order.

use std::{fs::File, io::Write, net::IpAddr, path::Path};

/// A TCP or UDP packet in an Ethernet frame.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Sender.
    pub source: (IpAddr, u16),
    /// Receiver.
    pub destination: (IpAddr, u16),
    /// TCP flags; `None`: UDP.
    pub tcp: Option<u8>,
    /// TCP window.
    pub window: u16,
    /// Bytes of payload, all 0.
    pub payload: usize,
    /// Traffic class byte: DSCP and ECN.
    pub tos: u8,
}

impl Frame {
    /// A UDP packet.
    pub fn udp(source: (IpAddr, u16), destination: (IpAddr, u16), payload: usize) -> Self {
        Self { source, destination, tcp: None, window: 0, payload, tos: 0 }
    }

    /// A TCP packet.
    pub fn tcp(source: (IpAddr, u16), destination: (IpAddr, u16), flags: u8, payload: usize) -> Self {
        Self { source, destination, tcp: Some(flags), window: 64240, payload, tos: 0 }
    }

    /// The answer to this packet, with so much payload.
    #[must_use]
    pub fn reply(&self, payload: usize) -> Self {
        Self { source: self.destination, destination: self.source, payload, ..self.clone() }
    }

    /// Its bytes, IPv4 checksum included.
    pub fn bytes(&self) -> Vec<u8> {
        let mut transport = Vec::new();
        transport.extend_from_slice(&self.source.1.to_be_bytes());
        transport.extend_from_slice(&self.destination.1.to_be_bytes());
        match self.tcp {
            Some(flags) => {
                transport.extend_from_slice(&[0; 8]);
                transport.extend_from_slice(&[5 << 4, flags]);
                transport.extend_from_slice(&self.window.to_be_bytes());
                transport.extend_from_slice(&[0; 4]);
            }
            None => {
                transport.extend_from_slice(&((8 + self.payload) as u16).to_be_bytes());
                transport.extend_from_slice(&[0; 2]);
            }
        }
        transport.resize(transport.len() + self.payload, 0);
        let mut out = vec![0x02, 0, 0, 0, 0, 2, 0x02, 0, 0, 0, 0, 1];
        let protocol = if self.tcp.is_some() { 6 } else { 17 };
        match (self.source.0, self.destination.0) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                out.extend_from_slice(&[0x08, 0x00]);
                let start = out.len();
                let len = (20 + transport.len()) as u16;
                out.extend_from_slice(&[0x45, self.tos]);
                out.extend_from_slice(&len.to_be_bytes());
                out.extend_from_slice(&[0, 0, 0x40, 0, 64, protocol, 0, 0]);
                out.extend_from_slice(&source.octets());
                out.extend_from_slice(&destination.octets());
                let sum = checksum(&out[start..]);
                out[start + 10..start + 12].copy_from_slice(&sum.to_be_bytes());
            }
            (source, destination) => {
                out.extend_from_slice(&[0x86, 0xdd, 0x60 | (self.tos >> 4), self.tos << 4, 0, 0]);
                out.extend_from_slice(&(transport.len() as u16).to_be_bytes());
                out.extend_from_slice(&[protocol, 64]);
                for address in [source, destination] {
                    match address {
                        IpAddr::V4(v4) => out.extend_from_slice(&v4.to_ipv6_mapped().octets()),
                        IpAddr::V6(v6) => out.extend_from_slice(&v6.octets()),
                    }
                }
            }
        }
        out.extend_from_slice(&transport);
        out
    }
}

/// The Internet checksum (RFC 1071); over a header with its checksum in place it is 0.
pub fn checksum(header: &[u8]) -> u16 {
    let sum: u32 =
        header.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

/// Writes a classic pcap file in nanoseconds: (time in ns, frame).
///
/// # Errors
/// Those of the file.
pub fn write_pcap(path: &Path, frames: &[(u64, Vec<u8>)]) -> std::io::Result<()> {
    let mut file = std::io::BufWriter::new(File::create(path)?);
    for word in [0xa1b2_3c4d_u32, 0x0004_0002, 0, 0, 262_144, 1] {
        file.write_all(&word.to_le_bytes())?;
    }
    for (time, bytes) in frames {
        let words = [
            (time / 1_000_000_000) as u32,
            (time % 1_000_000_000) as u32,
            bytes.len() as u32,
            bytes.len() as u32,
        ];
        for word in words {
            file.write_all(&word.to_le_bytes())?;
        }
        file.write_all(bytes)?;
    }
    file.flush()
}
