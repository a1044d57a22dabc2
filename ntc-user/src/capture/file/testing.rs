//! Small writers of capture files, for tests.

use std::io::Write;

use super::{CaptureError, CaptureFile, Frame, order::Order};

/// A packet that owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    pub timestamp_ns: u64,
    pub link_type: u16,
    pub wire_len: u32,
    pub data: Vec<u8>,
}

impl From<Frame<'_>> for Packet {
    fn from(frame: Frame<'_>) -> Self {
        let Frame { timestamp_ns, link_type, wire_len, data } = frame;
        Self { timestamp_ns, link_type, wire_len, data: data.to_vec() }
    }
}

/// Everything a file gives: its packets and the error it ends with, if any.
pub(super) fn read_all(bytes: &[u8]) -> (Vec<Packet>, Option<CaptureError>) {
    match CaptureFile::from_reader("test", std::io::Cursor::new(bytes.to_vec())) {
        Ok(file) => drain(file),
        Err(error) => (Vec::new(), Some(error)),
    }
}

pub(super) fn drain(mut file: CaptureFile) -> (Vec<Packet>, Option<CaptureError>) {
    let mut packets = Vec::new();
    while let Some(frame) = file.next_frame() {
        match frame {
            Ok(frame) => packets.push(frame.into()),
            Err(error) => {
                assert!(file.next_frame().is_none(), "nothing comes after an error");
                return (packets, Some(error));
            }
        }
    }
    assert!(file.next_frame().is_none(), "nothing comes after the end");
    (packets, None)
}

/// Bytes in a byte order.
pub(super) struct Writer {
    pub order: Order,
    pub bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn new(order: Order) -> Self {
        Self { order, bytes: Vec::new() }
    }

    pub(super) fn u16(&mut self, value: u16) -> &mut Self {
        let bytes = match self.order {
            Order::Little => value.to_le_bytes(),
            Order::Big => value.to_be_bytes(),
        };
        self.raw(&bytes)
    }

    pub(super) fn u32(&mut self, value: u32) -> &mut Self {
        let bytes = match self.order {
            Order::Little => value.to_le_bytes(),
            Order::Big => value.to_be_bytes(),
        };
        self.raw(&bytes)
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// Header of a classic file.
    pub(super) fn pcap_header(&mut self, magic: u32, minor: u16, snaplen: u32, link_type: u32) -> &mut Self {
        self.u32(magic).u16(2).u16(minor).u32(0).u32(0).u32(snaplen).u32(link_type)
    }

    /// A classic record; `extra` follows the common header.
    pub(super) fn pcap_record(
        &mut self,
        time: (u32, u32),
        wire: u32,
        extra: &[u8],
        data: &[u8],
    ) -> &mut Self {
        self.u32(time.0).u32(time.1).u32(data.len() as u32).u32(wire).raw(extra).raw(data)
    }

    /// Any block, padded.
    pub(super) fn block(&mut self, kind: u32, body: &[u8]) -> &mut Self {
        let length = 12 + body.len().next_multiple_of(4) as u32;
        self.u32(kind).u32(length).raw(body);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self.u32(length)
    }

    fn body(&self, fill: impl FnOnce(&mut Self)) -> Vec<u8> {
        let mut body = Self::new(self.order);
        fill(&mut body);
        body.bytes
    }

    pub(super) fn section(&mut self) -> &mut Self {
        let body = self.body(|body| {
            body.u32(0x1a2b_3c4d).u16(1).u16(0).raw(&[0xff; 8]);
        });
        self.block(0x0a0d_0d0a, &body)
    }

    pub(super) fn interface(&mut self, link_type: u16, snaplen: u32, options: &[(u16, &[u8])]) -> &mut Self {
        let body = self.body(|body| {
            body.u16(link_type).u16(0).u32(snaplen);
            for (code, value) in options {
                body.u16(*code).u16(value.len() as u16).raw(value);
                body.bytes.resize(body.bytes.len().next_multiple_of(4), 0);
            }
            if !options.is_empty() {
                body.u32(0);
            }
        });
        self.block(1, &body)
    }

    pub(super) fn enhanced(&mut self, interface: u32, stamp: u64, wire: u32, data: &[u8]) -> &mut Self {
        let body = self.body(|body| {
            body.u32(interface).u32((stamp >> 32) as u32).u32(stamp as u32);
            body.u32(data.len() as u32).u32(wire).raw(data);
            body.bytes.resize(body.bytes.len().next_multiple_of(4), 0);
            // A comment, and the end of options.
            body.u16(1).u16(3).raw(b"hi!\0").u32(0);
        });
        self.block(6, &body)
    }

    pub(super) fn simple(&mut self, wire: u32, data: &[u8]) -> &mut Self {
        let body = self.body(|body| {
            body.u32(wire).raw(data);
        });
        self.block(3, &body)
    }

    pub(super) fn obsolete(&mut self, interface: u16, stamp: u64, wire: u32, data: &[u8]) -> &mut Self {
        let body = self.body(|body| {
            body.u16(interface).u16(9).u32((stamp >> 32) as u32).u32(stamp as u32);
            body.u32(data.len() as u32).u32(wire).raw(data);
        });
        self.block(2, &body)
    }
}

/// A classic file of three packets with lengths 60, 0 and 5.
pub(super) fn small_pcap(order: Order) -> Vec<u8> {
    let mut file = Writer::new(order);
    file.pcap_header(0xa1b2_c3d4, 4, 65535, 1);
    for (second, length) in [(1, 60), (2, 0), (3, 5)] {
        file.pcap_record((second, 7), 1500, &[], &vec![second as u8; length]);
    }
    file.bytes
}

/// A block file with every kind of packet block and one block to skip.
pub(super) fn small_pcapng(order: Order) -> Vec<u8> {
    let mut file = Writer::new(order);
    file.section().interface(1, 0, &[]).interface(101, 96, &[(9, &[9])]);
    file.enhanced(0, 1_000_000, 60, &[1; 60]).block(5, &[0; 20]).enhanced(1, 5, 90, &[2; 3]);
    file.simple(4, &[3; 4]).obsolete(1, 8, 9, &[4; 9]);
    file.bytes
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 1).unwrap()
}
