//! The classic format of libpcap: one header, then records (draft-ietf-opsawg-pcap).

use super::{
    CaptureError, Record,
    order::Order,
    window::{MAX_RECORD, Window},
};

const FILE_HEADER: usize = 24;

/// No link type has longer packets in practice (libpcap's `MAXIMUM_SNAPLEN`): a record may always be this long,
/// since many writers set a snapshot length that they do not keep.
const COMMON_SNAPLEN: u32 = 262_144;

/// Length of a record's header, and what its fraction of a second counts, by magic number.
#[derive(Clone, Copy)]
struct Variant {
    record_header: usize,
    ns_per_fraction: u64,
}

impl Variant {
    fn of(magic: u32) -> Option<Self> {
        match magic {
            0xa1b2_c3d4 => Some(Self { record_header: 16, ns_per_fraction: 1000 }),
            0xa1b2_3c4d => Some(Self { record_header: 16, ns_per_fraction: 1 }),
            // Kuznetsov's patched libpcap: interface, protocol and packet type follow the common fields.
            0xa1b2_cd34 => Some(Self { record_header: 24, ns_per_fraction: 1000 }),
            _ => None,
        }
    }
}

/// Reads records, after the file header.
pub(super) struct PcapReader {
    order: Order,
    variant: Variant,
    link_type: u16,
    /// The longest packet taken.
    limit: u32,
    /// Minor version of the file: before 2.4 some writers swapped the two lengths.
    minor: u16,
}

impl PcapReader {
    /// Byte order, if the file starts with a magic number of this format.
    pub(super) fn detect(magic: [u8; 4]) -> Option<Order> {
        [Order::Little, Order::Big].into_iter().find(|order| Variant::of(order.u32(magic)).is_some())
    }

    /// Reads the file header.
    pub(super) fn open(window: &mut Window, order: Order) -> Result<Self, CaptureError> {
        window.require(FILE_HEADER)?;
        let Some(&[m0, m1, m2, m3, major0, major1, minor0, minor1, .., s0, s1, s2, s3, l0, l1, l2, l3]) =
            window.bytes().first_chunk::<FILE_HEADER>()
        else {
            return Err(window.damaged("the file header is not whole"));
        };
        let Some(variant) = Variant::of(order.u32([m0, m1, m2, m3])) else {
            return Err(window.damaged("the file header has no magic number"));
        };
        let (major, minor) = (order.u16([major0, major1]), order.u16([minor0, minor1]));
        if major != 2 || minor > 4 {
            return Err(window.version("pcap", major, minor));
        }
        let fixed = variant.record_header as u32;
        let limit = order.u32([s0, s1, s2, s3]).clamp(COMMON_SNAPLEN, MAX_RECORD as u32 - fixed);
        // The upper half tells of a frame check sequence at the end of each packet. It lies behind what the IP
        // total length covers, so nothing here needs to know.
        let link_type = order.u32([l0, l1, l2, l3]) as u16;
        window.consume(FILE_HEADER);
        Ok(Self { order, variant, link_type, limit, minor })
    }

    #[inline]
    pub(super) fn next(&self, window: &mut Window) -> Result<Option<Record>, CaptureError> {
        let header = self.variant.record_header;
        if !window.require(header)? {
            return Ok(None);
        }
        let Some(&[s0, s1, s2, s3, f0, f1, f2, f3, c0, c1, c2, c3, w0, w1, w2, w3]) =
            window.bytes().first_chunk::<16>()
        else {
            return Err(window.damaged("the record header is not whole"));
        };
        let seconds = self.order.u32([s0, s1, s2, s3]);
        let fraction = self.order.u32([f0, f1, f2, f3]);
        let mut captured = self.order.u32([c0, c1, c2, c3]);
        let mut wire = self.order.u32([w0, w1, w2, w3]);
        // As libpcap does: always swapped before 2.3, swapped by some writers of 2.3.
        if self.minor < 3 || (self.minor == 3 && captured > wire) {
            (captured, wire) = (wire, captured);
        }
        if captured > self.limit {
            return Err(window.too_long(captured.into(), self.limit.into()));
        }
        let data_len = captured as usize;
        window.require(header + data_len)?;
        let at = window.consume(header + data_len) + header;
        // 2^32 s in ns plus 2^32 us in ns stay below 2^63.
        let timestamp_ns =
            u64::from(seconds) * 1_000_000_000 + u64::from(fraction) * self.variant.ns_per_fraction;
        Ok(Some(Record {
            timestamp_ns,
            link_type: self.link_type,
            wire_len: wire.max(captured),
            data_at: at,
            data_len,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{Packet, Writer, read_all},
        *,
    };

    fn packet(timestamp_ns: u64, link_type: u16, wire_len: u32, data: &[u8]) -> Packet {
        Packet { timestamp_ns, link_type, wire_len, data: data.to_vec() }
    }

    #[test]
    fn all_magics_in_both_byte_orders() {
        for order in [Order::Little, Order::Big] {
            for (magic, fraction_ns, extra) in
                [(0xa1b2_c3d4, 1000, 0), (0xa1b2_3c4d, 1, 0), (0xa1b2_cd34, 1000, 8)]
            {
                let mut file = Writer::new(order);
                file.pcap_header(magic, 4, 65535, 113);
                file.pcap_record((1_700_000_000, 999_999), 1500, &[0xee; 8][..extra], b"abc");
                file.pcap_record((u32::MAX, u32::MAX), 0, &[0xee; 8][..extra], b"d");
                let (packets, error) = read_all(&file.bytes);
                assert!(error.is_none(), "{order:?} {magic:x}: {error:?}");
                let last = u64::from(u32::MAX) * (1_000_000_000 + fraction_ns);
                let first = 1_700_000_000_000_000_000 + 999_999 * fraction_ns;
                assert_eq!(packets, [packet(first, 113, 1500, b"abc"), packet(last, 113, 1, b"d")]);
            }
        }
    }

    #[test]
    fn check_sequence_bits_are_no_part_of_the_link_type() {
        let mut file = Writer::new(Order::Big);
        file.pcap_header(0xa1b2_c3d4, 4, 65535, 0x2400_0001).pcap_record((0, 0), 1, &[], b"x");
        assert_eq!(read_all(&file.bytes).0[0].link_type, 1);
    }

    #[test]
    fn old_versions_swap_the_lengths() {
        for (minor, stored) in [(2, (9, 3)), (3, (9, 3)), (3, (3, 9)), (4, (3, 9))] {
            let mut file = Writer::new(Order::Little);
            file.pcap_header(0xa1b2_c3d4, minor, 65535, 1);
            file.u32(0).u32(0).u32(stored.0).u32(stored.1).raw(b"abc");
            let (packets, error) = read_all(&file.bytes);
            assert!(error.is_none(), "2.{minor}: {error:?}");
            assert_eq!(packets, [packet(0, 1, 9, b"abc")]);
        }
    }

    #[test]
    fn unknown_versions_are_refused() {
        let mut file = Writer::new(Order::Little);
        file.pcap_header(0xa1b2_c3d4, 5, 65535, 1);
        let error = read_all(&file.bytes).1.unwrap();
        assert!(matches!(error, CaptureError::Version { major: 2, minor: 5, format: "pcap", .. }), "{error}");
    }

    #[test]
    fn a_packet_may_be_longer_than_a_small_snapshot_length() {
        let mut file = Writer::new(Order::Little);
        file.pcap_header(0xa1b2_c3d4, 4, 0, 1).pcap_record((0, 0), 9, &[], b"longer");
        let (packets, error) = read_all(&file.bytes);
        assert!(error.is_none() && packets.len() == 1, "{error:?}");
    }

    #[test]
    fn a_false_length_is_an_error_after_the_packets_before_it() {
        for (snaplen, length, limit) in [(96, 262_145, 262_144), (u32::MAX, 1 << 24, (1 << 24) - 16)] {
            let mut file = Writer::new(Order::Little);
            file.pcap_header(0xa1b2_c3d4, 4, snaplen, 1).pcap_record((0, 0), 1, &[], b"x");
            file.u32(0).u32(0).u32(length).u32(length).raw(&[0; 64]);
            let (packets, error) = read_all(&file.bytes);
            assert_eq!(packets.len(), 1);
            let Some(CaptureError::TooLong { offset, length: claimed, limit: taken, .. }) = error else {
                panic!("{error:?}");
            };
            assert_eq!((offset, claimed, taken), (41, u64::from(length), limit));
        }
    }

    #[test]
    fn the_longest_record_is_read() {
        let data = vec![7; MAX_RECORD - 16];
        let mut file = Writer::new(Order::Little);
        file.pcap_header(0xa1b2_c3d4, 4, u32::MAX, 1);
        file.pcap_record((0, 0), 1, &[], b"x").pcap_record((0, 0), 1, &[], &data).pcap_record(
            (0, 0),
            1,
            &[],
            b"y",
        );
        let (packets, error) = read_all(&file.bytes);
        assert!(error.is_none(), "{error:?}");
        assert!(packets.len() == 3 && packets[1].data == data && packets[2].data == b"y");
    }
}
