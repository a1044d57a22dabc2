//! A flow's name and ends, as user space shows them.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ntc_common::key::{Endpoint, FlowKey, IPPROTO_TCP};
use serde::{Serialize, Serializer, ser::SerializeStruct};

/// A flow: its key, when it began, and which end began it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowId {
    /// Canonical 5-tuple.
    pub key: FlowKey,
    /// First packet, ns of packet time (live: `CLOCK_MONOTONIC`; files: Unix time).
    pub start_ns: u64,
    /// The key's upper end sent the first packet.
    pub upper_is_source: bool,
}

impl FlowId {
    /// Who sent the first packet.
    pub fn source(&self) -> SocketAddr {
        address(if self.upper_is_source { self.key.upper() } else { self.key.lower() }, self.key.ip_version)
    }

    /// To whom.
    pub fn destination(&self) -> SocketAddr {
        address(if self.upper_is_source { self.key.lower() } else { self.key.upper() }, self.key.ip_version)
    }

    /// `tcp` or `udp`.
    pub const fn protocol(&self) -> &'static str {
        if self.key.protocol == IPPROTO_TCP { "tcp" } else { "udp" }
    }
}

impl Serialize for FlowId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (source, destination) = (self.source(), self.destination());
        let mut out = serializer.serialize_struct("FlowId", 6)?;
        out.serialize_field("src_ip", &source.ip())?;
        out.serialize_field("dst_ip", &destination.ip())?;
        out.serialize_field("src_port", &source.port())?;
        out.serialize_field("dst_port", &destination.port())?;
        out.serialize_field("proto", self.protocol())?;
        out.serialize_field("ip_version", &self.key.ip_version)?;
        out.end()
    }
}

/// An end of a key as a socket address.
fn address((bytes, port): Endpoint, ip_version: u8) -> SocketAddr {
    let v6 = Ipv6Addr::from(bytes);
    let ip = match v6.to_ipv4_mapped() {
        Some(v4) if ip_version == 4 => IpAddr::V4(v4),
        _ => IpAddr::V6(v6),
    };
    SocketAddr::new(ip, u16::from_be_bytes(port))
}
