//! What holds for the parser's answer to any bytes at all. The fuzz target `parser` asserts the same.

use ntc_common::{
    error::ParseError,
    key::{FlowKey, IPPROTO_TCP, IPPROTO_UDP},
    link::LinkType,
    packet::{NO_VLAN, Packet},
    parse,
    source::Captured,
};

/// All ways in which a packet can begin.
pub const LINKS: [LinkType; 7] = [
    LinkType::Ethernet,
    LinkType::RawIp,
    LinkType::Null,
    LinkType::Ppp,
    LinkType::CiscoHdlc,
    LinkType::LinuxSll,
    LinkType::LinuxSll2,
];

/// A packet with every bit of its fields set, to find fields that the parser leaves as they were.
const DIRTY: Packet = Packet {
    key: FlowKey {
        lower_addr: [0xff; 16],
        upper_addr: [0xff; 16],
        lower_port: [0xff; 2],
        upper_port: [0xff; 2],
        protocol: 0xff,
        ip_version: 0xff,
        reserved: [0xff; 2],
    },
    from_upper: true,
    payload_len: u32::MAX,
    ip_len: u32::MAX,
    window: u16::MAX,
    tcp_flags: u8::MAX,
    dscp: u8::MAX,
    vlan: 1,
    ip_offset: u16::MAX,
    transport_offset: u16::MAX,
    zero_ip_len: true,
    jumbo: true,
    segments: u32::MAX,
    segment_len: u32::MAX,
};

fn parsed(link: LinkType, bytes: &[u8], wire_len: usize) -> Result<Packet, ParseError> {
    let mut packet = Packet::ZERO;
    parse::parse(&Captured::new(bytes, wire_len), link, &mut packet).map(|()| packet)
}

/// Parses, and checks what must hold for any result.
pub fn checked(link: LinkType, bytes: &[u8], wire_len: usize) -> Result<Packet, ParseError> {
    let result = parsed(link, bytes, wire_len);
    let wire_len = wire_len.max(bytes.len());
    let Ok(packet) = result else { return result };

    let mut dirty = DIRTY;
    assert_eq!(parse::parse(&Captured::new(bytes, wire_len), link, &mut dirty), Ok(()));
    assert_eq!(dirty, packet, "every field is written");

    let (ip_offset, ip_len) = (usize::from(packet.ip_offset), packet.ip_len as usize);
    assert!(ip_offset + ip_len <= wire_len);
    let ip_header = if packet.key.ip_version == 4 { 20 } else { 40 };
    let transport_header = if packet.key.protocol == IPPROTO_TCP { 20 } else { 8 };
    assert!(packet.payload_len as usize + ip_header + transport_header <= ip_len);
    assert!(ip_offset + ip_header + transport_header <= bytes.len());
    assert_eq!(bytes[ip_offset] >> 4, packet.key.ip_version);
    assert!([4, 6].contains(&packet.key.ip_version));
    assert!([IPPROTO_TCP, IPPROTO_UDP].contains(&packet.key.protocol));
    assert!((packet.key.lower_addr, packet.key.lower_port) <= (packet.key.upper_addr, packet.key.upper_port));
    assert_eq!(packet.key.reserved, [0; 2]);
    assert!(packet.dscp < 64);
    assert!(packet.vlan < 0x1000 || packet.vlan == NO_VLAN);
    if packet.key.protocol == IPPROTO_UDP {
        assert_eq!((packet.window, packet.tcp_flags), (0, 0));
    }
    if packet.zero_ip_len {
        assert_eq!(ip_offset + ip_len, wire_len);
    } else {
        assert!(ip_len <= 40 + 0xffff);
        let padded = [bytes, &[0x45; 9]].concat();
        // Only a packet that was captured whole can be padded.
        if bytes.len() == wire_len {
            assert_eq!(parsed(link, &padded, padded.len()), result, "padding changes nothing");
        }
    }
    result
}
