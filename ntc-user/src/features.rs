//! From a sequence to the model's input: raw header fields, normalised inside the model's graph.

use ntc_common::limits::SEQUENCE_LENGTH;

use crate::{
    flow::FlowId,
    sequence::{Element, Sequence},
};

/// Names and order of the features of one packet (Lopez-Martin et al. 2017, section IV-C).
pub const FEATURES: [&str; 6] = ["src_port", "dst_port", "payload_len", "tcp_window", "gap_us", "direction"];

/// In which unit each of them is.
pub const UNITS: [&str; FEATURES.len()] = ["port", "port", "bytes", "raw 16 bits", "microseconds", "0 or 1"];

/// Of [`FEATURES`]: what a model is not to see where it is judged without ports.
pub const PORTS: [usize; 2] = [0, 1];

/// Values of one flow: [`SEQUENCE_LENGTH`] rows of [`FEATURES`].
pub const FLOW_VALUES: usize = SEQUENCE_LENGTH * FEATURES.len();

/// Writes a flow's packets as rows; rows beyond them are 0.
///
/// Ports are those of the packet, so they change places with the direction; payload in bytes, window as in
/// the header, time since the packet before in microseconds, direction 0 or 1.
pub fn write(flow: &FlowId, packets: &[Element], out: &mut [f32]) {
    let (source, destination) = (f32::from(flow.source().port()), f32::from(flow.destination().port()));
    out.fill(0.0);
    for (index, row) in out.chunks_exact_mut(FEATURES.len()).enumerate().take(packets.len()) {
        let packet = &packets[index];
        let (from, to) = if packet.direction == 0 { (source, destination) } else { (destination, source) };
        row[0] = from;
        row[1] = to;
        row[2] = packet.payload_len as f32;
        row[3] = f32::from(packet.window);
        row[4] = (Sequence::gap_ns(packets, index) as f64 / 1e3) as f32;
        row[5] = f32::from(packet.direction);
    }
}
