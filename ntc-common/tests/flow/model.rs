//! The rule once more, written to be obviously right: it keeps every packet and looks at all of them
//! whenever something is asked. The fuzz target `flow_rule` compares with it, too.

use ntc_common::{
    flow::{End, FlowRule},
    key::IPPROTO_TCP,
    packet::Packet,
};

use super::events::{ACK, FIN, Outcome, RST, SYN, Slot, packet};

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

/// A packet of the flow.
#[derive(Clone, Debug)]
pub struct Event {
    /// Since the packet before; negative where time runs backwards.
    pub step_ns: i64,
    pub from_upper: bool,
    pub tcp_flags: u8,
    pub ip_len: u32,
}

/// Plays the packets to both and compares them after each.
pub fn agree(rule: &FlowRule, protocol: u8, start: u64, events: &[Event]) {
    let mut slot = Slot::default();
    let mut history = History(Vec::new());
    let mut now = start;
    for event in events {
        now = now.saturating_add_signed(event.step_ns);
        let tcp_flags = if protocol == IPPROTO_TCP { event.tcp_flags } else { 0 };
        let (from_upper, ip_len) = (event.from_upper, event.ip_len);
        // Without payload, so that any length is one that a packet can have.
        let packet = Packet { from_upper, ip_len, payload_len: 0, ..packet(protocol, tcp_flags) };

        if let Some(flow) = slot.flow {
            assert_eq!(flow.over(protocol, now, rule), history.over_at(now, rule));
        }
        let ended = if history.0.is_empty() { None } else { history.over_before(&packet, now, rule) };
        let began = ended.is_some() || history.0.is_empty();
        if began {
            history.0.clear();
        }
        let closed_before = history.close(rule).is_some();
        history.0.push((packet, now));

        let Outcome { ended: ended_is, began: began_is, step } = slot.take(&packet, now, rule);
        assert_eq!((ended_is, began_is), (ended, began));
        let index = history.0.len() - 1;
        assert_eq!(step.index.map(usize::from), (index < 20).then_some(index));
        assert_eq!(step.direction == 0, history.is_forward(&packet));
        let closes = history.close(rule).map(|(how, _)| how).filter(|_| !closed_before);
        assert_eq!(step.closes, closes);

        let Some(flow) = slot.flow else { panic!("there is a flow after each packet") };
        assert_eq!(flow.start_ns, history.0[0].1);
        assert_eq!(flow.last_ns, history.last());
        assert_eq!(flow.close_reason(), history.close(rule).map_or(End::Eof, |(how, _)| how));
        for (direction, forward) in [(0, true), (1, false)] {
            let way = history.0.iter().filter(|(p, _)| history.is_forward(p) == forward);
            assert_eq!(flow.packets[direction], way.clone().count() as u64);
            assert_eq!(flow.bytes[direction], way.map(|(p, _)| u64::from(p.ip_len)).sum::<u64>());
        }
    }
}
