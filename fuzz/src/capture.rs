//! A capture file, from its bytes to its flows: the input is the file, so a finding can be given to `ntc classify`.

use std::io::Cursor;

use ntc_common::{flow::FlowRule, limits::SEQUENCE_LENGTH};
use ntc_user::{
    capture::{
        file::{CaptureError, CaptureFile},
        table::{EndedFlow, FlowTable},
    },
    features::{self, FLOW_VALUES},
};

/// Packets looked at: some bytes of compressed zeros can hold millions.
const MAX_PACKETS: u64 = 256;

const NAME: &str = "input";

/// Reads the file to its end or its error, through the flow table.
///
/// # Panics
/// Where a packet is lost, or an error does not say of which file it is.
pub fn run(input: &[u8]) {
    let mut file = match CaptureFile::from_reader(NAME, Cursor::new(input.to_vec())) {
        Ok(file) => file,
        Err(error) => return tells(&error),
    };
    let mut table = FlowTable::new(FlowRule::DEFAULT);
    let (mut frames, mut over) = (0, Over::default());
    while frames < MAX_PACKETS
        && let Some(frame) = file.next_frame()
    {
        match frame {
            Ok(frame) => {
                frames += 1;
                assert!(
                    frame.wire_len as usize >= frame.data.len(),
                    "a packet is never shorter than its part"
                );
                let _ = table.packet(&frame, &mut |ended| over.add(&ended));
            }
            Err(error) => {
                tells(&error);
                assert!(file.next_frame().is_none(), "nothing comes after an error");
                break;
            }
        }
    }
    assert!(file.progress().bytes_read <= input.len() as u64);
    table.finish(&mut |ended| over.add(&ended));
    let ledger = table.ledger();
    assert!(ledger.seen == frames && ledger.closes(), "{ledger:?}");
    assert_eq!((over.flows, over.packets), (ledger.new_flows, ledger.recorded + ledger.gated));
}

fn tells(error: &CaptureError) {
    let text = error.to_string();
    assert!(text.starts_with(NAME), "{text}");
}

/// What the flows that are over came to.
#[derive(Default)]
struct Over {
    flows: u64,
    packets: u64,
}

impl Over {
    fn add(&mut self, flow: &EndedFlow) {
        let packets = flow.state.packets[0] + flow.state.packets[1];
        self.flows += 1;
        self.packets += packets;
        let sequence = flow.sequence.packets();
        assert_eq!(
            sequence.len() as u64,
            packets.min(SEQUENCE_LENGTH as u64),
            "no record is lost on the way"
        );
        assert_eq!(sequence[0].timestamp_ns, flow.id.start_ns);
        let mut values = [0.0; FLOW_VALUES];
        features::write(&flow.id, sequence, &mut values);
        assert!(values.iter().all(|value| value.is_finite()));
    }
}

/// Makes the second length of each pcapng block agree with the first, which random changes would hit too seldom.
pub fn mend(input: &mut [u8]) {
    const SECTION_HEADER: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
    let (mut at, mut little) = (0, true);
    while let Some(&[t0, t1, t2, t3, n0, n1, n2, n3, m0, m1, m2, m3]) =
        input.get(at..).and_then(<[u8]>::first_chunk)
    {
        if [t0, t1, t2, t3] == SECTION_HEADER {
            little = [m0, m1, m2, m3] == [0x4d, 0x3c, 0x2b, 0x1a];
        } else if at == 0 {
            return;
        }
        let length = [n0, n1, n2, n3];
        let total = if little { u32::from_le_bytes(length) } else { u32::from_be_bytes(length) };
        let end = at.saturating_add((total as usize).next_multiple_of(4).max(12));
        let Some(trailer) = input.get_mut(end - 4..end) else { return };
        trailer.copy_from_slice(&length);
        at = end;
    }
}
