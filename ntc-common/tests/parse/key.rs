//! The key of a packet: the same from both ends, and never that of another flow.

use std::net::{IpAddr, SocketAddr};

use ntc_common::key::FlowKey;

use crate::packets::Builder;

fn end(text: &str) -> SocketAddr {
    match text.parse() {
        Ok(end) => end,
        Err(error) => panic!("{text}: {error}"),
    }
}

fn octets(end: SocketAddr) -> ([u8; 16], [u8; 2]) {
    let address = match end.ip() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    (address.octets(), end.port().to_be_bytes())
}

#[test]
fn both_directions_have_one_key() {
    // The lower end first: by address as a number, then by port.
    for (lower, upper) in [
        ("10.0.0.2:40000", "192.0.2.1:443"),
        ("10.0.0.2:443", "10.0.0.2:40000"),
        ("10.0.0.2:255", "10.0.0.2:256"),
        ("1.0.0.255:9", "2.0.0.0:1"),
        ("[2001:db8::1]:5353", "[2001:db8::2]:53"),
        ("[2001:db8::ff]:1", "[2001:db8::1:0]:1"),
        ("[2001:db8::ffff]:9", "[2001:db9::]:1"),
        ("[::1]:1", "[::1]:2"),
    ] {
        let (lower, upper) = (end(lower), end(upper));
        for base in [Builder::ethernet(), Builder::ethernet().udp()] {
            let sent = base.ends(lower, upper);
            let there = sent.parse().unwrap();
            let back = sent.reply().parse().unwrap();
            assert_eq!(there.key, back.key);
            assert_eq!((there.from_upper, back.from_upper), (false, true));
            assert_eq!((there.key.lower(), there.key.upper()), (octets(lower), octets(upper)));
            assert_eq!(there.key.ip_version, if lower.is_ipv4() { 4 } else { 6 });
            assert_eq!(there.key.reserved, [0, 0]);
        }
    }
}

#[test]
fn equal_ends_have_one_direction() {
    for address in ["127.0.0.1:7", "[::1]:7"] {
        let packet = Builder::ethernet().ends(end(address), end(address));
        let there = packet.parse().unwrap();
        assert_eq!(Ok(there), packet.reply().parse());
        assert!(!there.from_upper);
        assert_eq!(there.key.lower(), there.key.upper());
    }
}

#[test]
fn a_mapped_ipv6_address_is_not_ipv4() {
    let v4 = Builder::ethernet().ends(end("10.0.0.1:1"), end("10.0.0.2:2")).parse().unwrap().key;
    let v6 =
        Builder::ethernet().ends(end("[::ffff:10.0.0.1]:1"), end("[::ffff:10.0.0.2]:2")).parse().unwrap().key;
    assert_eq!((v4.lower(), v4.upper()), (v6.lower(), v6.upper()));
    assert_eq!((v4.ip_version, v6.ip_version), (4, 6));
    assert_ne!(v4, v6);
}

#[test]
fn protocols_do_not_share_a_key() {
    let tcp = Builder::ethernet().parse().unwrap().key;
    let udp = Builder::ethernet().udp().parse().unwrap().key;
    assert_eq!(FlowKey { protocol: udp.protocol, ..tcp }, udp);
    assert_ne!(tcp, udp);
}
