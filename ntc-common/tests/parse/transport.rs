//! TCP and UDP headers, and captures that end right behind them.

use ntc_common::{
    error::ParseError,
    key::{IPPROTO_TCP, IPPROTO_UDP},
};

use crate::packets::{Builder, SYN, parse_cut};

#[test]
fn tcp_fields() {
    for base in Builder::every_link() {
        for base in [base.clone(), base.v6()] {
            for (flags, window) in [(SYN, 0xffff), (0xff, 0), (0, 1), (0x11, 0x8001)] {
                let packet = base.clone().tcp(flags, window).payload(100).parse().unwrap();
                assert_eq!((packet.tcp_flags, packet.window), (flags, window));
                assert_eq!((packet.key.protocol, packet.payload_len), (IPPROTO_TCP, 100));
                assert_eq!(packet.opens(), flags == SYN);
            }
        }
    }
}

#[test]
fn tcp_options_are_not_payload() {
    for words in 0..=10 {
        let packet = Builder::ethernet().tcp_options(words).payload(7).parse().unwrap();
        assert_eq!((packet.payload_len, packet.ip_len as usize), (7, 40 + 4 * words + 7));
    }
}

#[test]
fn tcp_data_offsets() {
    for words in 0..=15_u8 {
        // Segment of 48 bytes: 12 words.
        let packet = Builder::ethernet().payload(28).at_transport(12, &[words << 4]).parse();
        match words {
            5..=12 => assert_eq!(packet.unwrap().payload_len, 48 - u32::from(words) * 4),
            _ => assert_eq!(packet, Err(ParseError::BadTcpHeaderLength)),
        }
    }
    // The reserved bits beside the offset do not count.
    assert_eq!(Builder::ethernet().at_transport(12, &[0x5f]).parse().unwrap().payload_len, 0);
}

#[test]
fn udp_has_neither_window_nor_flags() {
    for base in [Builder::ethernet(), Builder::ethernet().v6()] {
        let packet = base.udp().payload(100).parse().unwrap();
        assert_eq!((packet.key.protocol, packet.payload_len), (IPPROTO_UDP, 100));
        assert_eq!((packet.window, packet.tcp_flags, packet.opens()), (0, 0, false));
    }
}

#[test]
fn udp_lengths() {
    for base in [Builder::ethernet().udp().payload(10), Builder::ethernet().v6().udp().payload(10)] {
        for len in (1..8).chain([19, 1000, 0xffff]) {
            assert_eq!(base.clone().udp_len_field(len).parse(), Err(ParseError::BadUdpLength), "{len}");
        }
        // The payload comes from the IP length; 0 is that of an offloaded datagram.
        for len in [0, 8, 17, 18] {
            assert_eq!(base.clone().udp_len_field(len).parse().unwrap().payload_len, 10, "{len}");
        }
    }
}

#[test]
fn an_ip_packet_too_short_for_its_transport_header() {
    for (base, header, fragment_header) in [(Builder::ethernet(), 20, 0), (Builder::ethernet().v6(), 0, 8)] {
        for segment in 1..20 {
            let packet = base.clone().ip_len_field(header + segment);
            assert_eq!(packet.parse(), Err(ParseError::BadTcpHeaderLength));
        }
        for segment in 1..8 {
            let packet = base.clone().udp().ip_len_field(header + segment);
            assert_eq!(packet.parse(), Err(ParseError::BadUdpLength));
            // Nor does a UDP length that is not looked at help.
            assert_eq!(packet.clone().udp_len_field(0).parse(), Err(ParseError::BadUdpLength));
            let fragment = packet.fragment(0, true).ip_len_field(header + fragment_header + segment);
            assert_eq!(fragment.parse(), Err(ParseError::BadUdpLength));
        }
    }
}

#[test]
fn a_packet_is_never_shorter_than_what_was_captured_of_it() {
    for packet in [Builder::ethernet().payload(9), Builder::ethernet().v6().payload(9).ip_len_field(0)] {
        let bytes = packet.build();
        for wire_len in [0, 1, bytes.len() - 1, bytes.len()] {
            assert_eq!(parse_cut(packet.link, &bytes, wire_len), packet.parse());
        }
    }
}

#[test]
fn a_snap_length_may_cut_right_behind_the_header() {
    for base in Builder::every_link() {
        for base in [base.clone(), base.clone().v6(), base.clone().udp(), base.v6().udp()] {
            let packet = base.payload(1400);
            let bytes = packet.build();
            let needed = packet.needed();
            let whole = packet.parse().unwrap();
            assert_eq!(whole.payload_len, 1400);
            assert_eq!(parse_cut(packet.link, &bytes[..needed], bytes.len()), Ok(whole));
            assert_eq!(
                parse_cut(packet.link, &bytes[..needed - 1], bytes.len()),
                Err(ParseError::TruncatedTransport)
            );
            // Without the length on the wire, the IP length contradicts the packet.
            assert_eq!(parse_cut(packet.link, &bytes[..needed], needed), Err(ParseError::LengthBeyondPacket));
        }
    }
    let options = Builder::ethernet().tcp_options(10).payload(3);
    let bytes = options.build();
    assert_eq!(parse_cut(options.link, &bytes[..options.needed()], bytes.len()), options.parse());
}
