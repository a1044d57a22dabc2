//! What holds for any packet at all.

use ntc_common::{link::LinkType, packet::Packet};
use proptest::{collection::vec, prelude::*, sample::select};

use crate::{
    invariants::{LINKS, checked},
    packets::{AUTHENTICATION, Builder, DESTINATION, DOT1AD, DOT1Q, HOP_BY_HOP, MPLS, QINQ, ROUTING},
};

fn any_link() -> impl Strategy<Value = Builder> {
    let tags = vec((select(vec![DOT1Q, DOT1AD, QINQ]), any::<u16>()), 0..=4);
    (select(Builder::every_link()), tags, 0..3, 1..=4_usize).prop_map(|(link, tags, inner, labels)| {
        if !matches!(link.link, LinkType::Ethernet | LinkType::LinuxSll | LinkType::LinuxSll2) {
            return link;
        }
        let tagged = tags.into_iter().fold(link, |packet, (tpid, tci)| packet.tag(tpid, tci));
        match inner {
            0 => tagged,
            1 => tagged.pppoe(),
            _ => tagged.mpls(MPLS, labels),
        }
    })
}

prop_compose! {
    /// A valid packet of any kind.
    fn any_packet()(
        link in any_link(),
        v6 in any::<bool>(),
        options in 0..=10_usize,
        extensions in vec((select(vec![HOP_BY_HOP, ROUTING, DESTINATION, AUTHENTICATION]), 1..4_usize), 0..7),
        first_fragment in any::<bool>(),
        udp in any::<bool>(),
        flags in any::<u8>(),
        window in any::<u16>(),
        tcp_options in 0..=10_usize,
        dscp in 0..64_u8,
        payload in 0..200_usize,
        zero_len in prop::bool::weighted(0.1),
    ) -> Builder {
        let mut packet = link.dscp(dscp).payload(payload);
        if v6 {
            packet = packet.v6();
            for (kind, words) in extensions {
                packet = packet.extension(kind, words * 8);
            }
        } else {
            packet = packet.ipv4_options(options);
        }
        if first_fragment {
            packet = packet.fragment(0, true);
        }
        packet = if udp {
            packet.udp()
        } else if tcp_options > 0 {
            packet.tcp_options(tcp_options)
        } else {
            packet.tcp(flags, window)
        };
        if zero_len { packet.ip_len_field(0) } else { packet }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_never_panic(
        link in select(LINKS.to_vec()),
        bytes in vec(any::<u8>(), 0..200),
        more in 0..2000_usize,
    ) {
        let _ = checked(link, &bytes, bytes.len() + more);
        // A wire length below what was captured is raised.
        let _ = checked(link, &bytes, 0);
    }

    #[test]
    fn random_bytes_behind_a_plausible_start_never_panic(
        link in any_link(),
        v6 in any::<bool>(),
        bytes in vec(any::<u8>(), 0..200),
        protocol in select(vec![0, 6, 17, 43, 44, 51, 60]),
        more in 0..70_000_usize,
    ) {
        let link = if v6 { link.v6() } else { link };
        let mut whole = link.build()[..link.ip_offset()].to_vec();
        whole.extend(bytes);
        for (at, byte) in if v6 { [(0, 0x60), (6, protocol)] } else { [(0, 0x45), (9, protocol)] } {
            if let Some(place) = whole.get_mut(link.ip_offset() + at) {
                *place = byte;
            }
        }
        let _ = checked(link.link, &whole, whole.len() + more);
    }

    #[test]
    fn valid_packets_parse_and_their_replies_share_the_key(packet in any_packet()) {
        let bytes = packet.build();
        let there = checked(packet.link, &bytes, bytes.len());
        prop_assert!(there.is_ok(), "{there:?}");
        let back = packet.reply().parse().unwrap();
        let there = there.unwrap();
        prop_assert_eq!(Packet { from_upper: !there.from_upper, ..there }, back);
    }

    #[test]
    fn a_truncated_packet_is_an_error_or_the_same(packet in any_packet()) {
        let bytes = packet.build();
        let whole = checked(packet.link, &bytes, bytes.len()).unwrap();
        for cut in 0..bytes.len() {
            // By a snap length: the headers are all that is needed.
            let by_snap = checked(packet.link, &bytes[..cut], bytes.len());
            prop_assert_eq!(by_snap.is_ok(), cut >= packet.needed(), "cut at {}", cut);
            if let Ok(same) = by_snap {
                prop_assert_eq!(same, whole);
            }
            // On the wire: the IP length tells that something is missing, unless it says nothing.
            let on_wire = checked(packet.link, &bytes[..cut], cut);
            prop_assert!(on_wire.is_err() || whole.zero_ip_len, "cut at {}", cut);
        }
    }

    #[test]
    fn mutated_packets_never_panic(
        packet in any_packet(),
        mutations in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
        more in 0..3000_usize,
    ) {
        let mut bytes = packet.build();
        for (at, byte) in mutations {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = checked(packet.link, &bytes, bytes.len());
        let cut = cut.index(bytes.len());
        let _ = checked(packet.link, &bytes[..cut], cut + more);
    }
}
