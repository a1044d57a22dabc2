//! The rule against a slow model of it, with packets around each of its bounds.

use ntc_common::{
    flow::FlowRule,
    key::{IPPROTO_TCP, IPPROTO_UDP},
};
use proptest::{collection::vec, prelude::*, sample::select};

use crate::{
    events::{ACK, FIN, RST, SYN},
    model::{Event, agree},
};

const S: i64 = 1_000_000_000;

fn event() -> impl Strategy<Value = Event> {
    // Around each bound of the rules, and backwards.
    let step = prop_oneof![
        4 => 0..2 * S,
        2 => select(vec![0, 1, 10 * S - 1, 10 * S, 10 * S + 1]),
        1 => select(vec![120 * S, 120 * S + 1, 300 * S, 300 * S + 1]),
        1 => -400 * S..0,
    ];
    let flags =
        select(vec![0, ACK, ACK, ACK, SYN, SYN | ACK, FIN, FIN | ACK, RST, RST | ACK, FIN | RST, 0xff]);
    (step, any::<bool>(), flags, 20..2000_u32).prop_map(|(step_ns, from_upper, tcp_flags, ip_len)| Event {
        step_ns,
        from_upper,
        tcp_flags,
        ip_len,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_rule_agrees_with_the_model(
        rule in select(vec![
            FlowRule::DEFAULT,
            FlowRule::CORPUS,
            FlowRule { tcp_idle_ns: 5 * S as u64, ..FlowRule::DEFAULT },
        ]),
        protocol in select(vec![IPPROTO_TCP, IPPROTO_TCP, IPPROTO_UDP]),
        start in prop_oneof![Just(0), 0..1000 * S as u64, Just(1_700_000_000 * S as u64)],
        events in vec(event(), 1..80),
    ) {
        agree(&rule, protocol, start, &events);
    }
}
