//! Records of the kernel's ring, in any order and with anything in them, and the assembler's clock.

use arbitrary::{Arbitrary, Unstructured};
use ntc_common::{flow::FlowRule, key::FlowKey, label::Stage, limits::SEQUENCE_LENGTH, record::PacketRecord};
use ntc_user::{
    assemble::{Assembler, Cause, Question, Settings},
    capture::ring::records,
    features::{self, FLOW_VALUES},
};

const RECORD: usize = size_of::<PacketRecord>();
const MAX_FLOWS: usize = 6;
const MAX_ACTIONS: usize = 512;

#[derive(Arbitrary)]
enum Action {
    /// A record of one of a few flows.
    Likely {
        key: u8,
        start: u8,
        index: u8,
        end: u8,
        after_ms: u8,
        flags: u8,
    },
    /// All that fits into a record's bytes.
    Any([u8; RECORD]),
    /// A chunk that ends within a record.
    Torn([u8; RECORD], u8),
    /// Time goes on, and the assembler looks who has paused.
    Due {
        after_ms: u16,
    },
    DueAt(u64),
    /// Questions are taken from here on, or not: the queue is full.
    Taken(bool),
}

/// Puts the records through the assembler and checks its questions.
///
/// # Panics
/// Where a question breaks its promises.
pub fn run(input: &[u8]) {
    let mut input = Unstructured::new(input);
    let settings = Settings { pause_ns: 100_000_000, max_flows: MAX_FLOWS, rule: FlowRule::DEFAULT };
    let mut assembler = Assembler::new(settings);
    let mut asked = Asked { taken: true, ..Asked::default() };
    let mut now_ns = 1_000_000_000_u64;
    for _ in 0..MAX_ACTIONS {
        if input.is_empty() {
            break;
        }
        let Ok(action) = Action::arbitrary(&mut input) else { break };
        let mut feed = |chunk: &[u8], complete: usize| {
            let mut fed = 0;
            for record in records(chunk) {
                assembler.record(&record, |flow, cause| asked.question(&flow.question(cause)));
                fed += 1;
            }
            assembler.early(|flow, cause| asked.question(&flow.question(cause)));
            assert_eq!(fed, complete, "whole records only");
        };
        match action {
            Action::Likely { key, start, index, end, after_ms, flags } => {
                now_ns = now_ns.saturating_add(u64::from(after_ms) * 1_000_000);
                feed(&bytes(&likely(key, start, index, end, now_ns, flags)), 1);
            }
            Action::Any(bytes) => feed(&bytes, 1),
            Action::Torn(bytes, length) => {
                let length = usize::from(length).min(RECORD);
                feed(&bytes[..length], length / RECORD);
            }
            Action::Due { after_ms } => {
                now_ns = now_ns.saturating_add(u64::from(after_ms) * 1_000_000);
                assembler.due(now_ns, |flow, cause| asked.question(&flow.question(cause)));
            }
            Action::DueAt(at_ns) => assembler.due(at_ns, |flow, cause| asked.question(&flow.question(cause))),
            Action::Taken(taken) => asked.taken = taken,
        }
        assert!(assembler.unfinished() <= MAX_FLOWS, "memory is bounded");
    }
    let counts = assembler.counts();
    assert!(
        counts.gapped <= counts.flows && counts.headless <= counts.gapped && counts.evicted <= counts.flows
    );
    // The last time of all: every flow was asked about as far as it can be, and is forgotten.
    asked.taken = true;
    assembler.due(u64::MAX, |flow, cause| asked.question(&flow.question(cause)));
    let before = asked.questions;
    assembler.due(u64::MAX, |flow, cause| asked.question(&flow.question(cause)));
    assert_eq!(asked.questions, before, "nothing is asked twice");
}

fn likely(key: u8, start: u8, index: u8, end: u8, timestamp_ns: u64, flags: u8) -> PacketRecord {
    PacketRecord {
        key: FlowKey {
            lower_port: [0, key % 8],
            protocol: if key < 128 { 6 } else { 17 },
            ip_version: 4,
            ..FlowKey::ZERO
        },
        start_ns: 1_000_000_000 + u64::from(start % 4),
        timestamp_ns,
        payload_len: u32::from(flags) << 8,
        ifindex: 1,
        window: 1,
        vlan: 0xffff,
        segment_len: u32::from(flags) << 4,
        segments: if end.is_multiple_of(4) { u16::from(key % 48) + 1 } else { 1 },
        places: if end.is_multiple_of(4) { u16::from(start % 24) + 1 } else { 1 },
        index: index % (SEQUENCE_LENGTH as u8 + 2),
        flags,
        tcp_flags: flags,
        end: if end < 224 { 0 } else { end % 6 },
    }
}

fn bytes(record: &PacketRecord) -> [u8; RECORD] {
    // SAFETY: records are integers without padding (`shared_struct!` asserts it), and any bytes are bytes.
    unsafe { std::mem::transmute_copy(record) }
}

/// What was asked so far.
#[derive(Default)]
struct Asked {
    taken: bool,
    questions: u64,
}

impl Asked {
    fn question(&mut self, question: &Question) -> bool {
        let Question { id, sequence, cause, stage, .. } = question;
        self.questions += 1;
        let packets = sequence.packets();
        assert!((1..=SEQUENCE_LENGTH).contains(&packets.len()), "{question:?}");
        assert!(*cause != Cause::Complete || sequence.is_full(), "{question:?}");
        assert!(!sequence.is_full() || *stage == Stage::Final, "{question:?}");
        assert!(*cause != Cause::Closed || *stage == Stage::Final, "{question:?}");
        let mut values = [0.0; FLOW_VALUES];
        features::write(id, packets, &mut values);
        assert!(values.iter().all(|value| value.is_finite()));
        assert!(*cause != Cause::Early || *stage == Stage::Provisional, "{question:?}");
        self.taken
    }
}
