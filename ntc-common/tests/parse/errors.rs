//! Every way in which a packet belongs to no flow, each with the smallest packet that takes it.

use ntc_common::{error::ParseError, link::LinkType};

use crate::packets::{Builder, DESTINATION, DOT1Q, MPLS, parse};

fn without_tail(packet: &Builder, tail: usize) -> Vec<u8> {
    let mut bytes = packet.build();
    bytes.truncate(bytes.len() - tail);
    bytes
}

#[test]
fn each_error_has_its_packet() {
    let ethernet = Builder::ethernet;
    let tags = |n| (0..n).fold(ethernet(), |packet, _| packet.tag(DOT1Q, 1));
    let extensions = |n| (0..n).fold(ethernet().v6(), |packet, _| packet.extension(DESTINATION, 8));
    let arp = [vec![0xff; 12], vec![0x08, 0x06], vec![0; 28]].concat();
    let cases: &[(ParseError, Vec<u8>)] = &[
        (ParseError::TruncatedLink, vec![0; 13]),
        (ParseError::TooManyTags, tags(5).build()),
        (ParseError::TooManyLabels, ethernet().mpls(MPLS, 5).build()),
        (ParseError::NotIp, arp),
        (ParseError::TruncatedIp, ethernet().build()[..14].to_vec()),
        (ParseError::BadIpVersion, ethernet().at_ip(0, &[0x65]).build()),
        (ParseError::BadIpHeaderLength, ethernet().at_ip(0, &[0x44]).build()),
        (ParseError::BadIpLength, ethernet().ip_len_field(19).build()),
        (ParseError::LengthBeyondPacket, without_tail(&ethernet().payload(1), 1)),
        (ParseError::Fragment, ethernet().fragment(1, false).build()),
        (ParseError::TooManyExtensions, extensions(9).build()),
        (ParseError::TruncatedExtension, extensions(1).build()[..14 + 40].to_vec()),
        (ParseError::NotTcpUdp, ethernet().protocol(1).build()),
        (ParseError::TruncatedTransport, without_tail(&ethernet().udp().ip_len_field(27), 1)),
        (ParseError::BadTcpHeaderLength, ethernet().at_transport(12, &[0x40]).build()),
        (ParseError::BadUdpLength, ethernet().udp().udp_len_field(7).build()),
    ];
    for (error, bytes) in cases {
        assert_eq!(parse(LinkType::Ethernet, bytes), Err(*error));
    }
    // The one that no packet can take: the link type is refused before.
    let unknown = LinkType::from_linktype(147).map(|_| ());
    assert_eq!(unknown, Err(ParseError::UnknownLink));
    for error in ParseError::ALL {
        let covered = cases.iter().any(|(covered, _)| covered == error);
        assert!(covered || *error == ParseError::UnknownLink, "{error} has no packet");
    }
}

#[test]
fn a_link_header_that_ends_too_soon() {
    let mut links = Builder::every_link();
    links.push(Builder::ethernet().tag(DOT1Q, 1).tag(DOT1Q, 2));
    links.push(Builder::ethernet().tag(DOT1Q, 1).pppoe());
    links.push(Builder::ethernet().mpls(MPLS, 4));
    for packet in links {
        let (bytes, offset) = (packet.build(), packet.ip_offset());
        // This header begins with what the packet carries: no more of it needs to be there.
        let named = if packet.link == LinkType::LinuxSll2 { 2 } else { offset };
        for cut in 0..named {
            assert_eq!(parse(packet.link, &bytes[..cut]), Err(ParseError::TruncatedLink), "{packet:?}");
        }
        for cut in named..=offset {
            assert_eq!(parse(packet.link, &bytes[..cut]), Err(ParseError::TruncatedIp), "{packet:?}");
        }
    }
}
