//! IPv4 options, IPv6 extension headers, fragments, lengths, code points.

use ntc_common::{error::ParseError, key::IPPROTO_UDP, link::LinkType};

use crate::packets::{
    AUTHENTICATION, Builder, DESTINATION, DOT1Q, FRAGMENT, HOP_BY_HOP, ROUTING, parse, parse_cut,
};

#[test]
fn ipv4_options() {
    for words in 0..=10 {
        let packet = Builder::ethernet().ipv4_options(words).payload(9).parse().unwrap();
        assert_eq!((packet.payload_len, packet.ip_len as usize), (9, 20 + 4 * words + 20 + 9));
    }
}

#[test]
fn each_extension_header_in_each_size() {
    let plain = Builder::ethernet().v6().payload(5).parse().unwrap();
    for (kind, sizes) in [
        (HOP_BY_HOP, &[8, 16, 64, 2048][..]),
        (ROUTING, &[8, 24, 40]),
        (DESTINATION, &[8, 16, 2048]),
        (FRAGMENT, &[8]),
        (AUTHENTICATION, &[8, 12, 24, 32, 1028]),
    ] {
        for &size in sizes {
            let packet = Builder::ethernet().v6().extension(kind, size).payload(5).parse().unwrap();
            assert_eq!(packet.key, plain.key, "extension {kind} of {size} bytes");
            assert_eq!((packet.payload_len, packet.ip_len as usize), (5, 40 + size + 25));
            let udp = Builder::ethernet().v6().udp().extension(kind, size).payload(5).parse().unwrap();
            assert_eq!((udp.key.protocol, udp.payload_len), (IPPROTO_UDP, 5));
        }
    }
}

#[test]
fn chains_of_up_to_eight_extension_headers() {
    let kinds =
        [HOP_BY_HOP, DESTINATION, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION, ROUTING, HOP_BY_HOP];
    let mut packet = Builder::ethernet().v6().udp().payload(3);
    for kind in kinds {
        packet = packet.extension(kind, if kind == FRAGMENT { 8 } else { 16 });
        assert_eq!(packet.parse().unwrap().payload_len, 3);
    }
    for ninth in [HOP_BY_HOP, DESTINATION, ROUTING, FRAGMENT, AUTHENTICATION] {
        assert_eq!(packet.clone().extension(ninth, 8).parse(), Err(ParseError::TooManyExtensions));
    }
}

#[test]
fn first_fragments_are_packets() {
    for base in [Builder::ethernet(), Builder::ethernet().v6()] {
        let tcp = base.clone().fragment(0, true).payload(64);
        assert_eq!(tcp.parse().unwrap().payload_len, 64);
        // The UDP length speaks of the whole datagram, of which 64 bytes are here.
        let udp = base.clone().udp().fragment(0, true).payload(64);
        assert_eq!(udp.parse().unwrap().payload_len, 64);
        assert_eq!(udp.clone().udp_len_field(4008).parse().unwrap().payload_len, 64);
        assert_eq!(udp.udp_len_field(7).parse(), Err(ParseError::BadUdpLength));
        // Offset 0 and no more fragments (RFC 6946): whole, so its length must fit.
        let atomic = base.udp().fragment(0, false).payload(64);
        assert_eq!(atomic.parse().unwrap().payload_len, 64);
        assert_eq!(atomic.udp_len_field(4008).parse(), Err(ParseError::BadUdpLength));
    }
}

#[test]
fn later_fragments_have_no_ports() {
    for base in [Builder::ethernet(), Builder::ethernet().v6().extension(HOP_BY_HOP, 8)] {
        for (offset, more) in [(1, true), (1, false), (0x1fff, true), (0x1fff, false), (0x1000, false)] {
            let packet = base.clone().udp().payload(8).fragment(offset, more);
            assert_eq!(packet.parse(), Err(ParseError::Fragment), "offset {offset}");
        }
    }
    // "Don't fragment" and the reserved bit are not an offset.
    assert!(Builder::ethernet().at_ip(6, &[0xc0, 0]).parse().is_ok());
}

#[test]
fn padding_is_not_payload() {
    for base in [Builder::ethernet(), Builder::ethernet().v6(), Builder::ethernet().tag(DOT1Q, 1)] {
        let plain = base.clone().udp().payload(1).parse().unwrap();
        assert_eq!(plain.payload_len, 1);
        assert_eq!(base.clone().udp().payload(1).padding(46).parse(), Ok(plain));
        assert_eq!(base.padding(6).parse().unwrap().payload_len, 0);
    }
}

#[test]
fn an_ip_length_of_zero_means_the_packets_own() {
    for (base, header) in [(Builder::ethernet(), 20), (Builder::ethernet().v6(), 40)] {
        let packet = base.clone().payload(1000).ip_len_field(0).parse().unwrap();
        assert!(packet.zero_ip_len);
        assert_eq!((packet.payload_len, packet.ip_len), (1000, header + 20 + 1000));
        assert!(!base.clone().payload(1000).parse().unwrap().zero_ip_len);

        // More than the field could say, and cut by a snap length.
        let bytes = base.ip_len_field(0).build();
        let packet = parse_cut(LinkType::Ethernet, &bytes, 14 + 200_000).unwrap();
        assert_eq!((packet.ip_len, packet.payload_len), (200_000, 200_000 - header - 20));
    }
    // A jumbogram (RFC 2675): UDP's length is 0, too.
    let jumbo = Builder::ethernet().v6().extension(HOP_BY_HOP, 8).udp().ip_len_field(0).udp_len_field(0);
    let packet = parse_cut(LinkType::Ethernet, &jumbo.build(), 14 + 100_000).unwrap();
    assert_eq!((packet.ip_len, packet.payload_len), (100_000, 100_000 - 40 - 8 - 8));
    assert!(packet.jumbo);
    assert!(!Builder::ethernet().v6().extension(DESTINATION, 8).ip_len_field(0).parse().unwrap().jumbo);
    assert!(!Builder::ethernet().v6().extension(HOP_BY_HOP, 8).parse().unwrap().jumbo);
    assert!(!Builder::ethernet().ip_len_field(0).parse().unwrap().jumbo);
}

#[test]
fn lengths_that_contradict() {
    let v4 = Builder::ethernet().ipv4_options(2).payload(10);
    for len in [1, 19, 27] {
        assert_eq!(v4.clone().ip_len_field(len).parse(), Err(ParseError::BadIpLength));
    }
    assert_eq!(v4.clone().ip_len_field(59).parse(), Err(ParseError::LengthBeyondPacket));
    assert_eq!(v4.ip_len_field(57).parse().unwrap().payload_len, 9);

    let v6 = Builder::ethernet().v6().extension(DESTINATION, 16).payload(10);
    for len in [1, 8, 15] {
        assert_eq!(v6.clone().ip_len_field(len).parse(), Err(ParseError::BadIpLength));
    }
    assert_eq!(v6.clone().ip_len_field(47).parse(), Err(ParseError::LengthBeyondPacket));
    assert_eq!(v6.ip_len_field(45).parse().unwrap().payload_len, 9);
}

#[test]
fn code_points() {
    for dscp in 0..64 {
        assert_eq!(Builder::ethernet().dscp(dscp).parse().unwrap().dscp, dscp);
        assert_eq!(Builder::ethernet().v6().dscp(dscp).parse().unwrap().dscp, dscp);
    }
}

#[test]
fn an_ip_version_that_the_link_header_contradicts() {
    for link in [Builder::ethernet(), Builder::ethernet().pppoe(), Builder::ppp(true), Builder::linux_sll()] {
        let v4 = link.clone().at_ip(0, &[0x65]);
        assert_eq!(v4.parse(), Err(ParseError::BadIpVersion));
        let v6 = link.v6().at_ip(0, &[0x40]);
        assert_eq!(v6.parse(), Err(ParseError::BadIpVersion));
    }
}

#[test]
fn protocols_without_ports() {
    for protocol in [1, 2, 47, 50, 58, 59, 132, 255] {
        assert_eq!(Builder::ethernet().protocol(protocol).parse(), Err(ParseError::NotTcpUdp));
        assert_eq!(Builder::ethernet().v6().protocol(protocol).parse(), Err(ParseError::NotTcpUdp));
    }
    // The numbers of IPv6 extension headers mean nothing to IPv4.
    for protocol in [HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION] {
        assert_eq!(Builder::ethernet().protocol(protocol).parse(), Err(ParseError::NotTcpUdp));
    }
}

#[test]
fn headers_that_end_too_soon() {
    let v4 = Builder::raw_ip().build();
    let v6 = Builder::raw_ip().v6().extension(FRAGMENT, 8).build();
    for cut in 0..20 {
        assert_eq!(parse(LinkType::RawIp, &v4[..cut]), Err(ParseError::TruncatedIp));
    }
    for cut in 0..40 {
        assert_eq!(parse(LinkType::RawIp, &v6[..cut]), Err(ParseError::TruncatedIp));
    }
    for cut in 40..48 {
        assert_eq!(parse(LinkType::RawIp, &v6[..cut]), Err(ParseError::TruncatedExtension));
    }
}
