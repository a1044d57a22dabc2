//! The header parser: one for XDP, tc and capture files.

use crate::{
    error::ParseError,
    key::{Address, IPPROTO_TCP, IPPROTO_UDP},
    limits::MAX_EXTENSION_HEADERS,
    link::{self, IpVersion, LinkType},
    packet::Packet,
    source::PacketSource,
};

const IPV6_HOP_BY_HOP: u8 = 0;
const IPV6_ROUTING: u8 = 43;
const IPV6_FRAGMENT: u8 = 44;
const IPV6_AUTHENTICATION: u8 = 51;
const IPV6_DESTINATION: u8 = 60;

const ETHERNET_HEADER: usize = 14;
const IPV6_HEADER: usize = 40;
const UDP_HEADER: usize = 8;

/// What the IP header tells, before the transport header is read.
struct Ip {
    source: Address,
    destination: Address,
    version: u8,
    protocol: u8,
    /// Whole packet in bytes.
    len: usize,
    /// Where the TCP or UDP header begins, from the packet's first byte.
    transport: usize,
    /// More fragments follow: the UDP length speaks of all of them.
    first_fragment: bool,
    zero_len: bool,
    /// Its length stands in a hop-by-hop header.
    jumbo: bool,
}

/// Reads the headers of one packet into `packet`, which holds nothing of use after an error.
///
/// An out parameter, since BPF has 512 bytes of stack: the kernel hands in a per-CPU slot.
/// `#[inline(always)]` is a condition for passing the verifier; see [`PacketSource`].
///
/// # Errors
/// A [`ParseError`] for each packet that is not a whole TCP or UDP packet with ports. A header that
/// contradicts itself or the packet's length is an error, never a guess.
#[inline(always)]
pub fn parse<S: PacketSource>(source: &S, link: LinkType, packet: &mut Packet) -> Result<(), ParseError> {
    let network = link::network(source, link)?;
    packet.vlan = network.vlan;
    if network.offset == ETHERNET_HEADER {
        // Most packets: a copy of its own, in which the processor waits for no offset.
        return internet(source, network.version, ETHERNET_HEADER, packet);
    }
    let start = through_memory(&mut packet.ip_offset, network.offset);
    internet(source, network.version, start, packet)
}

/// Reads the packet's IP header, which begins at `start`, and what follows it.
#[inline(always)]
fn internet<S: PacketSource>(
    source: &S,
    version: IpVersion,
    start: usize,
    packet: &mut Packet,
) -> Result<(), ParseError> {
    let ip = match version {
        IpVersion::V4 => ipv4(source, start, packet)?,
        IpVersion::V6 => ipv6(source, start, packet)?,
    };
    if !source.reaches(start + ip.len) {
        return Err(ParseError::LengthBeyondPacket);
    }
    transport(source, start, &ip, packet)
}

/// Offsets have 15 bits at most: link headers, 40 bytes, and extension headers of 2 KiB each.
const OFFSET: usize = 0x7fff;
const _: () = assert!(IPV6_HEADER + MAX_EXTENSION_HEADERS * 2048 + 256 < OFFSET);

/// Keeps an offset in the packet, and reads it back from there. The kernel's verifier follows values in registers and on
/// the stack, not in maps: so all ways on which the parser may have come here are one way to it from here on, where it
/// would verify the rest once for each number of tags, labels and extension headers.
#[inline(always)]
fn through_memory(field: &mut u16, offset: usize) -> usize {
    let field = &raw mut *field;
    // SAFETY: a field that is the caller's alone; volatile, or the compiler would keep the value in its register.
    let kept = unsafe {
        field.write_volatile(offset as u16);
        field.read_volatile()
    };
    usize::from(kept) & OFFSET
}

#[inline(always)]
fn ipv4<S: PacketSource>(source: &S, start: usize, packet: &mut Packet) -> Result<Ip, ParseError> {
    let header: [u8; 20] = source.read(start).ok_or(ParseError::TruncatedIp)?;
    if header[0] >> 4 != 4 {
        return Err(ParseError::BadIpVersion);
    }
    let header_len = usize::from(header[0] & 0x0f) * 4;
    if header_len < 20 {
        return Err(ParseError::BadIpHeaderLength);
    }
    let fragment = u16::from_be_bytes([header[6], header[7]]);
    if fragment & 0x1fff != 0 {
        return Err(ParseError::Fragment);
    }
    let field = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let zero_len = field == 0;
    let len = if zero_len { source.wire_len().saturating_sub(start) } else { field };
    if len < header_len {
        return Err(ParseError::BadIpLength);
    }
    packet.dscp = header[1] >> 2;
    Ok(Ip {
        source: Address::mapped([header[12], header[13], header[14], header[15]]),
        destination: Address::mapped([header[16], header[17], header[18], header[19]]),
        version: 4,
        protocol: header[9],
        len,
        transport: start + header_len,
        first_fragment: fragment & 0x2000 != 0,
        zero_len,
        jumbo: false,
    })
}

#[inline(always)]
fn ipv6<S: PacketSource>(source: &S, start: usize, packet: &mut Packet) -> Result<Ip, ParseError> {
    let fixed: [u8; 8] = source.read(start).ok_or(ParseError::TruncatedIp)?;
    let addresses: [Address; 2] = source.read(start + 8).ok_or(ParseError::TruncatedIp)?;
    if fixed[0] >> 4 != 6 {
        return Err(ParseError::BadIpVersion);
    }
    let field = usize::from(u16::from_be_bytes([fixed[4], fixed[5]]));
    let zero_len = field == 0;
    let len = if zero_len { source.wire_len().saturating_sub(start) } else { IPV6_HEADER + field };
    if len < IPV6_HEADER {
        return Err(ParseError::BadIpLength);
    }
    packet.dscp = (u16::from_be_bytes([fixed[0], fixed[1]]) >> 6) as u8 & 0x3f;
    let mut next = fixed[6];
    let mut offset = start + IPV6_HEADER;
    let mut first_fragment = false;
    for _ in 0..MAX_EXTENSION_HEADERS {
        let size = match next {
            IPV6_HOP_BY_HOP | IPV6_ROUTING | IPV6_DESTINATION => {
                let header: [u8; 2] = source.read(offset).ok_or(ParseError::TruncatedExtension)?;
                next = header[0];
                (usize::from(header[1]) + 1) * 8
            }
            IPV6_FRAGMENT => {
                let header: [u8; 8] = source.read(offset).ok_or(ParseError::TruncatedExtension)?;
                let fragment = u16::from_be_bytes([header[2], header[3]]);
                if fragment & 0xfff8 != 0 {
                    return Err(ParseError::Fragment);
                }
                first_fragment = fragment & 1 != 0;
                next = header[0];
                8
            }
            // RFC 4302 section 2.2: length in words of 4 bytes, less 2.
            IPV6_AUTHENTICATION => {
                let header: [u8; 2] = source.read(offset).ok_or(ParseError::TruncatedExtension)?;
                next = header[0];
                (usize::from(header[1]) + 2) * 4
            }
            _ => break,
        };
        offset = through_memory(&mut packet.transport_offset, offset + size);
    }
    match next {
        IPV6_HOP_BY_HOP | IPV6_ROUTING | IPV6_DESTINATION | IPV6_FRAGMENT | IPV6_AUTHENTICATION => {
            return Err(ParseError::TooManyExtensions);
        }
        _ => {}
    }
    if start + len < offset {
        return Err(ParseError::BadIpLength);
    }
    Ok(Ip {
        source: addresses[0],
        destination: addresses[1],
        version: 6,
        protocol: next,
        len,
        transport: offset,
        first_fragment,
        zero_len,
        jumbo: zero_len && fixed[6] == IPV6_HOP_BY_HOP,
    })
}

#[inline(always)]
fn transport<S: PacketSource>(
    source: &S,
    start: usize,
    ip: &Ip,
    packet: &mut Packet,
) -> Result<(), ParseError> {
    let offset = ip.transport;
    let segment = (start + ip.len).saturating_sub(offset);
    let (ports, header_len, window, tcp_flags) = match ip.protocol {
        IPPROTO_TCP => {
            let header: [u8; 20] = source.read(offset).ok_or(ParseError::TruncatedTransport)?;
            let header_len = usize::from(header[12] >> 4) * 4;
            if header_len < 20 || header_len > segment {
                return Err(ParseError::BadTcpHeaderLength);
            }
            let window = u16::from_be_bytes([header[14], header[15]]);
            ([header[0], header[1], header[2], header[3]], header_len, window, header[13])
        }
        IPPROTO_UDP => {
            let header: [u8; UDP_HEADER] = source.read(offset).ok_or(ParseError::TruncatedTransport)?;
            if segment < UDP_HEADER {
                return Err(ParseError::BadUdpLength);
            }
            let len = usize::from(u16::from_be_bytes([header[4], header[5]]));
            // 0: a jumbogram (RFC 2675) or an offloaded datagram. A first fragment carries the length
            // of the whole datagram.
            let contradicts = len < UDP_HEADER || (len > segment && !ip.first_fragment);
            if len != 0 && contradicts {
                return Err(ParseError::BadUdpLength);
            }
            ([header[0], header[1], header[2], header[3]], UDP_HEADER, 0, 0)
        }
        _ => return Err(ParseError::NotTcpUdp),
    };
    packet.from_upper = packet.key.set(
        (ip.source, [ports[0], ports[1]]),
        (ip.destination, [ports[2], ports[3]]),
        ip.protocol,
        ip.version,
    );
    packet.payload_len = (segment - header_len) as u32;
    packet.ip_len = ip.len as u32;
    packet.window = window;
    packet.tcp_flags = tcp_flags;
    packet.ip_offset = start as u16;
    packet.transport_offset = offset as u16;
    packet.zero_ip_len = ip.zero_len;
    packet.jumbo = ip.jumbo;
    packet.segments = 1;
    packet.segment_len = 0;
    Ok(())
}
