//! A capture made to order, so that nobody needs a file to repeat a measurement.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    net::{IpAddr, Ipv4Addr},
    path::Path,
};

use ntc_tests::frames::Frame;

/// Flows of the capture.
pub const FLOWS: u32 = 50_000;
/// Packets of each: one sequence.
pub const FLOW_PACKETS: u32 = 20;
/// Packets of the capture.
pub const PACKETS: u32 = FLOWS * FLOW_PACKETS;
/// Flows whose packets take turns.
const FLOWS_AT_ONCE: u32 = 1000;
/// Bytes kept of a packet.
const SNAP: usize = 128;
const ACK_PSH: u8 = 0x18;
const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// Numbers without a pattern, always the same (xorshift64*, Vigna 2016).
pub struct Random(u64);

impl Random {
    /// The beginning.
    pub const fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    /// A number below `end`.
    pub const fn below(&mut self, end: u32) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let upper = (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32;
        ((upper as u64 * end as u64) >> 32) as u32
    }
}

/// Writes a pcap file: half of the flows TCP, half UDP, in both directions, with payloads up to a full frame, gaps
/// and windows at random, so that nothing in it compresses better than real packets do.
///
/// # Errors
/// Those of the file.
pub fn write(path: &Path) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut random = Random::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, SNAP as u32, 1] {
        out.write_all(&word.to_le_bytes())?;
    }
    let mut microseconds = 0;
    for group in 0..FLOWS / FLOWS_AT_ONCE {
        for packet in 0..FLOW_PACKETS {
            for member in 0..FLOWS_AT_ONCE {
                microseconds += random.below(20);
                let mut frame = frame(group * FLOWS_AT_ONCE + member, random.below(1448) as usize);
                frame.window = random.below(1 << 16) as u16;
                let frame = if packet % 2 == 0 { frame } else { frame.reply(frame.payload) };
                let bytes = frame.bytes();
                let kept = &bytes[..bytes.len().min(SNAP)];
                let lengths = [kept.len() as u32, bytes.len() as u32];
                for word in [microseconds / 1_000_000, microseconds % 1_000_000].into_iter().chain(lengths) {
                    out.write_all(&word.to_le_bytes())?;
                }
                out.write_all(kept)?;
            }
        }
    }
    out.flush()
}

/// A packet of a flow's client.
pub fn frame(flow: u32, payload: usize) -> Frame {
    let client = (IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + flow)), 40_000);
    if flow.is_multiple_of(2) {
        Frame::tcp(client, (SERVER, 443), ACK_PSH, payload)
    } else {
        Frame::udp(client, (SERVER, 53), payload)
    }
}
