//! From the link header to the IP header.

use ntc_common::{
    error::ParseError,
    link::LinkType,
    packet::{NO_VLAN, Packet},
};

use crate::packets::{Builder, DOT1AD, DOT1Q, MPLS, MPLS_MULTICAST, QINQ, parse};

/// Both IP versions of a packet are read as the same packet without a link header is.
fn reads_as_raw(packet: &Builder, ip_offset: u16, vlan: u16) {
    for (packet, raw) in [(packet.clone(), Builder::raw_ip()), (packet.clone().v6(), Builder::raw_ip().v6())]
    {
        let Ok(raw) = raw.parse() else { panic!("the raw packet is valid") };
        assert_eq!(raw.ip_offset, 0);
        let transport_offset = ip_offset + raw.transport_offset;
        assert_eq!(packet.parse(), Ok(Packet { ip_offset, transport_offset, vlan, ..raw }), "{packet:?}");
    }
}

#[test]
fn ethernet() {
    reads_as_raw(&Builder::ethernet(), 14, NO_VLAN);
}

#[test]
fn up_to_four_tags_of_any_kind() {
    for tpid in [DOT1Q, DOT1AD, QINQ] {
        let mut packet = Builder::ethernet();
        for tags in 1..=4 {
            packet = packet.tag(tpid, 100 + tags);
            reads_as_raw(&packet, 14 + 4 * tags, 101);
        }
        let five = packet.tag(tpid, 105);
        assert_eq!(five.parse(), Err(ParseError::TooManyTags));
        assert_eq!(five.v6().parse(), Err(ParseError::TooManyTags));
    }
    reads_as_raw(&Builder::ethernet().tag(DOT1AD, 7).tag(DOT1Q, 8), 22, 7);
    reads_as_raw(&Builder::ethernet().tag(QINQ, 9).tag(DOT1AD, 7).tag(DOT1Q, 8), 26, 9);
}

#[test]
fn a_vlan_id_has_twelve_bits_and_may_be_zero() {
    reads_as_raw(&Builder::ethernet().tag(DOT1Q, 0xf005), 18, 5);
    reads_as_raw(&Builder::ethernet().tag(DOT1Q, 0xffff), 18, 0x0fff);
    // A priority tag (id 0) is a tag: the inner id does not stand in for it.
    reads_as_raw(&Builder::ethernet().tag(DOT1Q, 0xe000).tag(DOT1Q, 6), 22, 0);
}

#[test]
fn pppoe_sessions() {
    reads_as_raw(&Builder::ethernet().pppoe(), 22, NO_VLAN);
    reads_as_raw(&Builder::ethernet().tag(DOT1Q, 7).pppoe(), 26, 7);
    reads_as_raw(&Builder::ethernet().tag(DOT1AD, 3).tag(DOT1Q, 7).pppoe(), 30, 3);
}

#[test]
fn pppoe_that_carries_no_ip() {
    let session = Builder::ethernet().pppoe().build();
    for (at, bytes, what) in [
        (12, [0x88, 0x63], "discovery"),
        (14, [0x11, 0x09], "a code other than 0"),
        (14, [0x21, 0x00], "another version"),
        (20, [0xc0, 0x21], "LCP"),
    ] {
        let mut packet = session.clone();
        packet[at..at + 2].copy_from_slice(&bytes);
        assert_eq!(parse(LinkType::Ethernet, &packet), Err(ParseError::NotIp), "{what}");
    }
}

#[test]
fn up_to_four_mpls_labels() {
    for ethertype in [MPLS, MPLS_MULTICAST] {
        for labels in 1..=4 {
            let offset = 14 + 4 * labels as u16;
            reads_as_raw(&Builder::ethernet().mpls(ethertype, labels), offset, NO_VLAN);
            reads_as_raw(&Builder::ethernet().tag(DOT1Q, 12).mpls(ethertype, labels), offset + 4, 12);
        }
        let five = Builder::ethernet().mpls(ethertype, 5);
        assert_eq!(five.parse(), Err(ParseError::TooManyLabels));
    }
    let pseudowire = Builder::ethernet().mpls(MPLS, 1).at_ip(0, &[0x00]);
    assert_eq!(pseudowire.parse(), Err(ParseError::NotIp));
}

#[test]
fn bsd_loopback_in_both_byte_orders() {
    for family in [2, 10, 24, 28, 30] {
        reads_as_raw(&Builder::null([family, 0, 0, 0]), 4, NO_VLAN);
        reads_as_raw(&Builder::null([0, 0, 0, family]), 4, NO_VLAN);
    }
    for family in [[0, 0, 0, 0], [7, 0, 0, 0], [0, 0, 0, 23], [0, 2, 0, 0], [2, 0, 0, 2], [2, 0, 1, 0]] {
        assert_eq!(Builder::null(family).parse(), Err(ParseError::NotIp), "{family:?}");
    }
}

#[test]
fn ppp_framed_and_bare() {
    reads_as_raw(&Builder::ppp(true), 4, NO_VLAN);
    reads_as_raw(&Builder::ppp(false), 2, NO_VLAN);
    assert_eq!(parse(LinkType::Ppp, &[0xff, 0x03, 0xc0, 0x21, 1, 1, 0, 4]), Err(ParseError::NotIp));
    assert_eq!(parse(LinkType::Ppp, &[0xc0, 0x21, 1, 1, 0, 4]), Err(ParseError::NotIp));
}

#[test]
fn cisco_hdlc_and_linux_cooked() {
    reads_as_raw(&Builder::cisco_hdlc(), 4, NO_VLAN);
    reads_as_raw(&Builder::linux_sll(), 16, NO_VLAN);
    reads_as_raw(&Builder::linux_sll2(), 20, NO_VLAN);
    reads_as_raw(&Builder::linux_sll().tag(DOT1Q, 77), 20, 77);
    reads_as_raw(&Builder::linux_sll2().tag(DOT1Q, 77).pppoe(), 32, 77);
}

#[test]
fn link_type_numbers() {
    for number in 0..=u16::MAX {
        let expected = match number {
            0 => Ok(LinkType::Null),
            1 => Ok(LinkType::Ethernet),
            9 => Ok(LinkType::Ppp),
            12 | 101 | 228 | 229 => Ok(LinkType::RawIp),
            104 => Ok(LinkType::CiscoHdlc),
            113 => Ok(LinkType::LinuxSll),
            276 => Ok(LinkType::LinuxSll2),
            _ => Err(ParseError::UnknownLink),
        };
        assert_eq!(LinkType::from_linktype(number), expected);
    }
}

#[test]
fn what_is_not_ip() {
    // ARP, LLDP, EAPOL, an 802.3 length, nothing at all.
    for ethertype in [0x0806_u16, 0x88cc, 0x888e, 0x0026, 0x0000] {
        let mut packet = Builder::ethernet().padding(20).build();
        packet[12..14].copy_from_slice(&ethertype.to_be_bytes());
        assert_eq!(parse(LinkType::Ethernet, &packet), Err(ParseError::NotIp));
        let mut packet = Builder::ethernet().tag(DOT1Q, 5).build();
        packet[16..18].copy_from_slice(&ethertype.to_be_bytes());
        assert_eq!(parse(LinkType::Ethernet, &packet), Err(ParseError::NotIp));
    }
    for nibble in (0..16).filter(|nibble| ![4, 6].contains(nibble)) {
        let packet = Builder::raw_ip().at_ip(0, &[nibble << 4 | 5]);
        assert_eq!(packet.parse(), Err(ParseError::NotIp));
    }
}
