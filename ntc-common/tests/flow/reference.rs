//! The rule once more, written to be obviously right: it keeps every packet and looks at all of them
//! whenever something is asked.

use ntc_common::{
    flow::{End, FlowRule},
    key::{IPPROTO_TCP, IPPROTO_UDP},
    packet::Packet,
};
use proptest::{collection::vec, prelude::*, sample::select};

use crate::events::{ACK, FIN, Outcome, RST, SYN, Slot, packet};

/// All packets of one flow, oldest first.
#[derive(Debug)]
struct History(Vec<(Packet, u64)>);

impl History {
    /// How and when the flow closed; a close at time 0 counts as one at 1, since 0 says open.
    fn close(&self, rule: &FlowRule) -> Option<(End, u64)> {
        if rule.close == 0 {
            return None;
        }
        for (i, (packet, at)) in self.0.iter().enumerate() {
            if packet.tcp_flags & RST != 0 {
                return Some((End::Rst, (*at).max(1)));
            }
            let fin_from =
                |upper| self.0[..=i].iter().any(|(p, _)| p.tcp_flags & FIN != 0 && p.from_upper == upper);
            if fin_from(true) && fin_from(false) {
                return Some((End::Fin, (*at).max(1)));
            }
        }
        None
    }

    fn last(&self) -> u64 {
        self.0.iter().map(|(_, at)| *at).max().unwrap_or(0)
    }

    fn over_at(&self, now: u64, rule: &FlowRule) -> Option<End> {
        let protocol = self.0[0].0.key.protocol;
        let idle = if protocol == IPPROTO_TCP { rule.tcp_idle_ns } else { rule.udp_idle_ns };
        let is_idle = now > self.last() && now - self.last() > idle;
        match self.close(rule) {
            Some((how, at)) if is_idle || (now > at && now - at > rule.linger_ns) => Some(how),
            None if is_idle => Some(End::Idle),
            _ => None,
        }
    }

    fn over_before(&self, packet: &Packet, now: u64, rule: &FlowRule) -> Option<End> {
        let opens = packet.tcp_flags & SYN != 0 && packet.tcp_flags & ACK == 0;
        match self.close(rule) {
            Some((how, _)) if opens => Some(how),
            _ => self.over_at(now, rule),
        }
    }

    fn is_forward(&self, packet: &Packet) -> bool {
        packet.from_upper == self.0[0].0.from_upper
    }
}

#[derive(Clone, Debug)]
struct Event {
    /// Since the packet before; negative where time runs backwards.
    step_ns: i64,
    from_upper: bool,
    tcp_flags: u8,
    ip_len: u32,
}

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

fn agree(rule: &FlowRule, protocol: u8, start: u64, events: &[Event]) -> Result<(), TestCaseError> {
    let mut slot = Slot::default();
    let mut history = History(Vec::new());
    let mut now = start;
    for event in events {
        now = now.saturating_add_signed(event.step_ns);
        let tcp_flags = if protocol == IPPROTO_TCP { event.tcp_flags } else { 0 };
        let (from_upper, ip_len) = (event.from_upper, event.ip_len);
        let packet = Packet { from_upper, ip_len, ..packet(protocol, tcp_flags) };

        if let Some(flow) = slot.flow {
            prop_assert_eq!(flow.over(protocol, now, rule), history.over_at(now, rule));
        }
        let ended = if history.0.is_empty() { None } else { history.over_before(&packet, now, rule) };
        let began = ended.is_some() || history.0.is_empty();
        if began {
            history.0.clear();
        }
        let closed_before = history.close(rule).is_some();
        history.0.push((packet, now));

        let Outcome { ended: ended_is, began: began_is, step } = slot.take(&packet, now, rule);
        prop_assert_eq!((ended_is, began_is), (ended, began));
        let index = history.0.len() - 1;
        prop_assert_eq!(step.index.map(usize::from), (index < 20).then_some(index));
        prop_assert_eq!(step.direction == 0, history.is_forward(&packet));
        let closes = history.close(rule).map(|(how, _)| how).filter(|_| !closed_before);
        prop_assert_eq!(step.closes, closes);

        let Some(flow) = slot.flow else { panic!("there is a flow after each packet") };
        prop_assert_eq!(flow.start_ns, history.0[0].1);
        prop_assert_eq!(flow.last_ns, history.last());
        prop_assert_eq!(flow.close_reason(), history.close(rule).map_or(End::Eof, |(how, _)| how));
        for (direction, forward) in [(0, true), (1, false)] {
            let way = history.0.iter().filter(|(p, _)| history.is_forward(p) == forward);
            prop_assert_eq!(flow.packets[direction], way.clone().count() as u64);
            prop_assert_eq!(flow.bytes[direction], way.map(|(p, _)| u64::from(p.ip_len)).sum::<u64>());
        }
    }
    Ok(())
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
        agree(&rule, protocol, start, &events)?;
    }
}
