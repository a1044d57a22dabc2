//! Packets of one flow against the slow model of the flow rule.

#[expect(dead_code, reason = "the tests of the rule have more kinds of packets")]
#[path = "../../ntc-common/tests/flow/events.rs"]
mod events;
#[path = "../../ntc-common/tests/flow/model.rs"]
mod model;

use arbitrary::{Arbitrary, Unstructured};
use ntc_common::{
    flow::FlowRule,
    key::{IPPROTO_TCP, IPPROTO_UDP},
};

use model::{Event, agree};

/// More than a sequence has; the model looks at all packets for each packet.
const MAX_PACKETS: usize = 24;

const SECOND: i64 = 1_000_000_000;

#[derive(Arbitrary)]
struct Input {
    rule: Rule,
    udp: bool,
    start: u64,
    packets: Vec<(Step, bool, u8, u16)>,
}

#[derive(Arbitrary)]
enum Rule {
    Default,
    Corpus,
    /// Bounds so close together that every order of them occurs.
    Close {
        tcp_idle_s: u8,
        udp_idle_s: u8,
        linger_s: u8,
        close: bool,
    },
}

/// Time since the packet before.
#[derive(Arbitrary)]
enum Step {
    Seconds(i16),
    Nanoseconds(i16),
    /// A bound of the rule, and so many ns beyond it.
    Bound(u8, i8),
    Any(i64),
}

/// Compares rule and model after each packet.
///
/// # Panics
/// Where they differ.
pub fn run(input: &[u8]) {
    let Ok(Input { rule, udp, start, packets }) = Input::arbitrary_take_rest(Unstructured::new(input)) else {
        return;
    };
    let seconds = |value: u8| u64::from(value) * SECOND as u64;
    let rule = match rule {
        Rule::Default => FlowRule::DEFAULT,
        Rule::Corpus => FlowRule::CORPUS,
        Rule::Close { tcp_idle_s, udp_idle_s, linger_s, close } => FlowRule {
            tcp_idle_ns: seconds(tcp_idle_s),
            udp_idle_ns: seconds(udp_idle_s),
            linger_ns: seconds(linger_s),
            close: close.into(),
            ..FlowRule::DEFAULT
        },
    };
    let bounds = [0, rule.tcp_idle_ns, rule.udp_idle_ns, rule.linger_ns];
    let events: Vec<_> = packets
        .into_iter()
        .take(MAX_PACKETS)
        .map(|(step, from_upper, tcp_flags, ip_len)| Event {
            step_ns: match step {
                Step::Seconds(value) => i64::from(value) * SECOND,
                Step::Nanoseconds(value) => value.into(),
                Step::Bound(which, beyond) => {
                    bounds[usize::from(which) % bounds.len()] as i64 + i64::from(beyond)
                }
                Step::Any(value) => value,
            },
            from_upper,
            tcp_flags,
            ip_len: ip_len.into(),
        })
        .collect();
    agree(&rule, if udp { IPPROTO_UDP } else { IPPROTO_TCP }, start, &events);
}
