//! The block format of Wireshark (draft-ietf-opsawg-pcapng): sections with interfaces, each with its own link type
//! and clock.

use super::{
    CaptureError, Record,
    interface::Interface,
    order::Order,
    window::{MAX_RECORD, Window},
};

/// Reads the same in both byte orders.
const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
const INTERFACE: u32 = 1;
const PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

/// Type, length before and length after.
const FRAME: usize = 12;
const SECTION_HEADER_MIN: usize = 28;

/// Bounds the memory that a file of nothing but interfaces can take. Real sections have a handful.
const MAX_INTERFACES: usize = 1 << 16;

/// Reads blocks and gives out those that carry a packet.
pub(super) struct PcapngReader {
    order: Order,
    /// Of the current section.
    interfaces: Vec<Interface>,
    /// Time of the packet before: Simple Packet Blocks bear none.
    last_ns: u64,
}

impl PcapngReader {
    /// Whether a file that starts so is of this format.
    pub(super) fn detect(magic: [u8; 4]) -> bool {
        u32::from_le_bytes(magic) == SECTION_HEADER
    }

    /// Reads the first section header.
    pub(super) fn open(window: &mut Window) -> Result<Self, CaptureError> {
        let mut reader = Self { order: Order::Little, interfaces: Vec::new(), last_ns: 0 };
        reader.section(window)?;
        Ok(reader)
    }

    #[inline]
    pub(super) fn next(&mut self, window: &mut Window) -> Result<Option<Record>, CaptureError> {
        loop {
            if !window.require(FRAME)? {
                return Ok(None);
            }
            let Some(&[t0, t1, t2, t3, n0, n1, n2, n3]) = window.bytes().first_chunk() else {
                return Err(window.damaged("the block header is not whole"));
            };
            let kind = self.order.u32([t0, t1, t2, t3]);
            let length = self.order.u32([n0, n1, n2, n3]);
            match kind {
                ENHANCED_PACKET | PACKET | SIMPLE_PACKET => {
                    let total = self.block(window, length)?;
                    return self.packet(window, kind, total).map(Some);
                }
                INTERFACE => {
                    let total = self.block(window, length)?;
                    self.interface(window, total)?;
                }
                SECTION_HEADER => self.section(window)?,
                _ => self.skip(window, length)?,
            }
        }
    }

    /// Brings a whole block into the window and checks that both its lengths agree. Returns its length.
    #[inline]
    fn block(&self, window: &mut Window, length: u32) -> Result<usize, CaptureError> {
        let total = padded(length);
        if total < FRAME as u64 {
            return Err(window.damaged("a block is shorter than its own header"));
        }
        if total > MAX_RECORD as u64 {
            return Err(window.too_long(length.into(), MAX_RECORD as u64));
        }
        let total = total as usize;
        window.require(total)?;
        let Some(&trailer) = window.bytes().get(..total).and_then(<[u8]>::last_chunk) else {
            return Err(window.damaged("a block is not whole"));
        };
        self.check_trailer(window, length, trailer)?;
        Ok(total)
    }

    #[inline]
    fn check_trailer(&self, window: &Window, length: u32, trailer: [u8; 4]) -> Result<(), CaptureError> {
        if self.order.u32(trailer) == length {
            Ok(())
        } else {
            Err(window.damaged("a block has another length at its end than at its start"))
        }
    }

    /// Moves past a block that bears nothing of use, whatever its length.
    fn skip(&self, window: &mut Window, length: u32) -> Result<(), CaptureError> {
        let total = padded(length);
        if total <= MAX_RECORD as u64 {
            let total = self.block(window, length)?;
            window.consume(total);
            return Ok(());
        }
        let start = window.offset();
        window.skip(total - 4)?;
        window.require(4)?;
        let Some(&trailer) = window.bytes().first_chunk() else {
            return Err(window.truncated(start));
        };
        self.check_trailer(window, length, trailer)?;
        window.consume(4);
        Ok(())
    }

    /// A section begins: its byte order holds from here, and the interfaces of the one before are gone.
    fn section(&mut self, window: &mut Window) -> Result<(), CaptureError> {
        window.require(SECTION_HEADER_MIN)?;
        let Some(&[_, _, _, _, n0, n1, n2, n3, o0, o1, o2, o3, major0, major1, minor0, minor1]) =
            window.bytes().first_chunk()
        else {
            return Err(window.damaged("the section header is not whole"));
        };
        let magic = [o0, o1, o2, o3];
        let Some(order) =
            [Order::Little, Order::Big].into_iter().find(|order| order.u32(magic) == BYTE_ORDER_MAGIC)
        else {
            return Err(window.damaged("a section header has no byte order magic"));
        };
        let (major, minor) = (order.u16([major0, major1]), order.u16([minor0, minor1]));
        if major != 1 {
            return Err(window.version("pcapng", major, minor));
        }
        let length = order.u32([n0, n1, n2, n3]);
        if length < SECTION_HEADER_MIN as u32 {
            return Err(window.damaged("a section header is shorter than 28 bytes"));
        }
        self.order = order;
        self.interfaces.clear();
        self.skip(window, length)
    }

    fn interface(&mut self, window: &mut Window, total: usize) -> Result<(), CaptureError> {
        let body = &window.bytes()[8..total - 4];
        let Some(interface) = Interface::parse(body, self.order) else {
            return Err(window.damaged("an interface description is too short or has an option past its end"));
        };
        if self.interfaces.len() == MAX_INTERFACES {
            return Err(window.damaged("a section has more than 65536 interfaces"));
        }
        self.interfaces.push(interface);
        window.consume(total);
        Ok(())
    }

    /// The packet in the whole block at the start of the window.
    #[inline]
    fn packet(&mut self, window: &mut Window, kind: u32, total: usize) -> Result<Record, CaptureError> {
        let order = self.order;
        let body = &window.bytes()[8..total - 4];
        let short = "a packet block is shorter than its fields";
        let (interface, stamp, captured, wire, header);
        if kind == SIMPLE_PACKET {
            let Some(&wire_bytes) = body.first_chunk() else { return Err(window.damaged(short)) };
            wire = order.u32(wire_bytes);
            header = 4;
            interface = 0;
            stamp = None;
            captured = None;
        } else {
            let Some(&[i0, i1, i2, i3, h0, h1, h2, h3, l0, l1, l2, l3, c0, c1, c2, c3, w0, w1, w2, w3]) =
                body.first_chunk()
            else {
                return Err(window.damaged(short));
            };
            // The obsolete block has a drop count in the other two bytes.
            interface = if kind == PACKET {
                usize::from(order.u16([i0, i1]))
            } else {
                order.u32([i0, i1, i2, i3]) as usize
            };
            let (high, low) = (order.u32([h0, h1, h2, h3]), order.u32([l0, l1, l2, l3]));
            stamp = Some(u64::from(high) << 32 | u64::from(low));
            captured = Some(order.u32([c0, c1, c2, c3]));
            wire = order.u32([w0, w1, w2, w3]);
            header = 20;
        }
        let Some(interface) = self.interfaces.get(interface) else {
            return Err(window.damaged("a packet is of an interface that was not described"));
        };
        let room = (body.len() - header) as u32;
        let captured = match captured {
            Some(captured) => captured,
            // A Simple Packet Block leaves its captured length to be found out.
            None if interface.snaplen == 0 => wire.min(room),
            None => wire.min(interface.snaplen).min(room),
        };
        if captured > room {
            return Err(window.damaged("a packet is longer than its block"));
        }
        let timestamp_ns = stamp.map_or(self.last_ns, |stamp| interface.clock.to_ns(stamp));
        self.last_ns = timestamp_ns;
        let at = window.consume(total) + 8 + header;
        Ok(Record {
            timestamp_ns,
            link_type: interface.link_type,
            wire_len: wire.max(captured),
            data_at: at,
            data_len: captured as usize,
        })
    }
}

/// Some writers leave the padding out of a block's length.
#[inline]
fn padded(length: u32) -> u64 {
    u64::from(length).next_multiple_of(4)
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

    /// The end of a file with one section and one interface, in which something is wrong.
    fn damage(fill: impl FnOnce(&mut Writer)) -> CaptureError {
        let mut file = Writer::new(Order::Little);
        file.section().interface(1, 0, &[]);
        fill(&mut file);
        let (packets, error) = read_all(&file.bytes);
        assert!(packets.is_empty());
        error.unwrap()
    }

    #[test]
    fn every_packet_block_in_both_byte_orders() {
        for order in [Order::Little, Order::Big] {
            let (packets, error) = read_all(&super::super::testing::small_pcapng(order));
            assert!(error.is_none(), "{order:?}: {error:?}");
            let expected = [
                packet(1_000_000_000, 1, 60, &[1; 60]),
                packet(5, 101, 90, &[2; 3]),
                packet(5, 1, 4, &[3; 4]),
                packet(8, 101, 9, &[4; 9]),
            ];
            assert_eq!(packets, expected);
        }
    }

    #[test]
    fn a_section_brings_its_own_byte_order_and_interfaces() {
        let mut file = Writer::new(Order::Little);
        file.section().interface(1, 0, &[]).interface(113, 0, &[]).enhanced(1, 1, 1, b"a");
        file.order = Order::Big;
        file.section().interface(276, 0, &[(9, &[0x80 | 20]), (14, &5i64.to_be_bytes())]);
        file.enhanced(0, 1 << 19, 1, b"b");
        file.order = Order::Little;
        file.section().interface(228, 0, &[]).enhanced(0, 2, 1, b"c").enhanced(1, 3, 1, b"d");
        let (packets, error) = read_all(&file.bytes);
        let expected =
            [packet(1000, 113, 1, b"a"), packet(5_500_000_000, 276, 1, b"b"), packet(2000, 228, 1, b"c")];
        assert_eq!(packets, expected);
        let error = error.unwrap().to_string();
        assert!(error.contains("an interface that was not described"), "{error}");
    }

    #[test]
    fn simple_packets_are_cut_at_the_snapshot_length() {
        let mut file = Writer::new(Order::Little);
        file.section().interface(1, 6, &[]).simple(1500, b"abcdef").simple(3, b"abc");
        let (packets, error) = read_all(&file.bytes);
        assert!(error.is_none(), "{error:?}");
        assert_eq!(packets, [packet(0, 1, 1500, b"abcdef"), packet(0, 1, 3, b"abc")]);
    }

    #[test]
    fn a_length_without_the_padding_is_taken() {
        let mut file = Writer::new(Order::Little);
        file.section().interface(1, 0, &[]);
        file.u32(6)
            .u32(33)
            .u32(0)
            .u32(0)
            .u32(9)
            .u32(1)
            .u32(1)
            .raw(b"x\0\0\0")
            .u32(33)
            .enhanced(0, 1, 1, b"y");
        let (packets, error) = read_all(&file.bytes);
        assert!(error.is_none() && packets.len() == 2, "{error:?}");
    }

    #[test]
    fn blocks_to_skip_may_have_any_length() {
        let length = 20 << 20;
        let mut file = Writer::new(Order::Little);
        file.section().interface(1, 0, &[]).block(0x8000_0001, &vec![6; length]).enhanced(0, 1, 1, b"x");
        let (packets, error) = read_all(&file.bytes);
        assert!(error.is_none() && packets.len() == 1, "{error:?}");
        // Cut in the block, in its trailer, and with another length there.
        let block = 28 + 20;
        for cut in [block + 40, block + length + 8, block + length + 10] {
            let error = read_all(&file.bytes[..cut]).1.unwrap();
            assert!(error.is_truncated(), "{error}");
        }
        file.bytes[block + length + 8] ^= 1;
        let error = read_all(&file.bytes).1.unwrap();
        assert!(matches!(error, CaptureError::Damaged { .. }), "{error}");
    }

    #[test]
    fn contradictions_are_named_with_their_place() {
        type Case = (&'static str, fn(&mut Writer));
        let cases: [Case; 8] = [
            ("shorter than its own header", |file| {
                file.u32(6).u32(8).u32(8);
            }),
            ("another length at its end", |file| {
                file.u32(5).u32(16).u32(0).u32(20);
            }),
            ("shorter than its fields", |file| {
                file.block(6, &[0; 16]);
            }),
            ("shorter than its fields", |file| {
                file.block(3, &[]);
            }),
            ("longer than its block", |file| {
                file.u32(6).u32(36).u32(0).u32(0).u32(0).u32(5).u32(5).u32(0).u32(36);
            }),
            ("an option past its end", |file| {
                file.block(1, &[1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 9, 0]);
            }),
            ("no byte order magic", |file| {
                file.block(SECTION_HEADER, &[0; 16]);
            }),
            ("shorter than 28 bytes", |file| {
                file.u32(SECTION_HEADER).u32(24).u32(BYTE_ORDER_MAGIC).u16(1).u16(0).raw(&[0; 16]);
            }),
        ];
        for (what, fill) in cases {
            let error = damage(fill).to_string();
            assert!(error.contains(what) && error.contains("test: damaged at byte 48"), "{what}: {error}");
        }
    }

    #[test]
    fn what_is_too_new_or_too_long_is_refused() {
        let error = damage(|file| {
            file.u32(SECTION_HEADER).u32(28).u32(BYTE_ORDER_MAGIC).u16(2).u16(0).raw(&[0; 12]);
        });
        assert!(matches!(error, CaptureError::Version { major: 2, offset: 48, .. }), "{error}");
        let error = damage(|file| {
            file.u32(6).u32((1 << 24) + 4).raw(&[0; 64]);
        });
        assert!(matches!(error, CaptureError::TooLong { offset: 48, .. }), "{error}");
    }

    #[test]
    fn interfaces_without_end_are_refused() {
        let error = damage(|file| {
            for _ in 0..MAX_INTERFACES {
                file.interface(1, 0, &[]);
            }
        });
        assert!(error.to_string().contains("more than 65536 interfaces"), "{error}");
    }
}
