//! The flow table of capture files: what `FLOWS` and the ring are to the kernel.
//!
//! Rule and record are [`ntc_common`]'s. Ends are told, since a file has an end and no agent asks early.

use std::collections::hash_map::Entry;

use ntc_common::{
    error::ParseError,
    flow::{End, FlowRule, FlowState, Owned, flow_flags},
    key::FlowKey,
    ledger::Ledger,
    link::LinkType,
    packet::Packet,
    parse::parse,
    record::PacketRecord,
    source::Captured,
};

use crate::{capture::file::Frame, flow::FlowId, sequence::Sequence};

/// A flow that is over.
#[derive(Clone, Debug)]
pub struct EndedFlow {
    /// Which flow.
    pub id: FlowId,
    /// Its totals.
    pub state: FlowState,
    /// Its first packets.
    pub sequence: Sequence,
    /// Why it is over.
    pub end: End,
}

struct Live {
    state: FlowState,
    sequence: Sequence,
}

/// Live flows are looked through for ended ones after so many packets. Not by time: a packet whose time is wrong
/// must not stop it.
const SWEEP_PACKETS: u64 = 1 << 20;
/// Below so many live flows there is no need to.
const SWEEP_FLOWS: usize = 65_536;

/// Live flows at most, for a capture may hold nothing but first packets. What fits into 2^20 buckets of the hash table,
/// of which 1 in 8 stays free: about a gigabyte if every flow has a full sequence.
const MAX_FLOWS: usize = (1 << 20) / 8 * 7;

/// The live flows of one capture.
pub struct FlowTable {
    rule: FlowRule,
    /// Boxed: the table doubles, and would otherwise hold all of them twice while it does.
    flows: std::collections::HashMap<FlowKey, Box<Live>, foldhash::fast::RandomState>,
    packet: Packet,
    ledger: Ledger,
}

impl FlowTable {
    /// An empty table.
    pub fn new(rule: FlowRule) -> Self {
        Self { rule, flows: std::collections::HashMap::default(), packet: Packet::ZERO, ledger: Ledger::ZERO }
    }

    /// Where each packet went.
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Accounts a packet; flows that it shows to be over go to `ended`. Returns its record, if it left one.
    pub fn packet(
        &mut self,
        frame: &Frame<'_>,
        ended: &mut impl FnMut(EndedFlow),
    ) -> Result<Option<PacketRecord>, ParseError> {
        self.ledger.seen += 1;
        let source = Captured::new(frame.data, frame.wire_len as usize);
        let parsed =
            LinkType::from_linktype(frame.link_type).and_then(|link| parse(&source, link, &mut self.packet));
        if let Err(error) = parsed {
            self.ledger.not_flow[error as usize] += 1;
            return Err(error);
        }
        self.ledger.zero_ip_len += u64::from(self.packet.zero_ip_len);
        let now_ns = frame.timestamp_ns;
        if self.flows.len() > SWEEP_FLOWS && self.ledger.seen.is_multiple_of(SWEEP_PACKETS) {
            self.sweep(now_ns, ended);
        }
        if self.flows.len() >= MAX_FLOWS && !self.flows.contains_key(&self.packet.key) {
            self.make_room(now_ns, ended);
        }
        Ok(self.account(now_ns, ended))
    }

    fn account(&mut self, now_ns: u64, ended: &mut impl FnMut(EndedFlow)) -> Option<PacketRecord> {
        let Self { rule, flows, packet, ledger, .. } = self;
        let begin = |ledger: &mut Ledger| {
            ledger.new_flows += 1;
            Box::new(Live { state: FlowState::begin(packet, now_ns, 0), sequence: Sequence::default() })
        };
        let live = match flows.entry(packet.key) {
            Entry::Vacant(vacant) => vacant.insert(begin(ledger)),
            Entry::Occupied(occupied) => {
                let live = occupied.into_mut();
                if let Some(end) = live.state.ended_before(packet, now_ns, rule) {
                    ended(over(packet.key, *std::mem::replace(live, begin(ledger)), end));
                }
                live
            }
        };
        let step = live.state.account::<Owned>(packet, now_ns, rule);
        let (packets, places) = (u64::from(packet.segments), u64::from(step.places));
        ledger.recorded += places;
        ledger.gated += packets - places;
        let index = step.index?;
        let record = live.state.record(packet, &step, index, now_ns, 0);
        live.sequence.place(&record);
        Some(record)
    }

    fn sweep(&mut self, now_ns: u64, ended: &mut impl FnMut(EndedFlow)) {
        let rule = self.rule;
        let ends =
            |key: &FlowKey, live: &mut Box<Live>| live.state.over(key.protocol, now_ns, &rule).is_some();
        for (key, live) in self.flows.extract_if(ends) {
            let end = live.state.over(key.protocol, now_ns, &rule).unwrap_or(End::Idle);
            ended(over(key, *live, end));
        }
    }

    /// Ends what is over, and if that is little, half of the flows: those whose latest packet is the longest ago.
    #[cold]
    fn make_room(&mut self, now_ns: u64, ended: &mut impl FnMut(EndedFlow)) {
        self.sweep(now_ns, ended);
        if self.flows.len() < MAX_FLOWS / 8 * 7 {
            return;
        }
        let mut latest: Vec<u64> = self.flows.values().map(|live| live.state.last_ns).collect();
        let middle = latest.len() / 2;
        let (_, &mut median, _) = latest.select_nth_unstable(middle);
        // Of equal times any will do, but some must go.
        let mut surplus = middle.max(1);
        let goes = |_: &FlowKey, live: &mut Box<Live>| {
            let goes = live.state.last_ns <= median && surplus > 0;
            surplus -= usize::from(goes);
            goes
        };
        for (key, live) in self.flows.extract_if(goes) {
            let end = if live.state.closed_ns == 0 { End::Evicted } else { live.state.close_reason() };
            ended(over(key, *live, end));
        }
    }

    /// Ends all flows, in the order of their first packets: the capture is over.
    pub fn finish(&mut self, ended: &mut impl FnMut(EndedFlow)) {
        let mut rest: Vec<_> = self.flows.iter().map(|(key, live)| (live.state.start_ns, *key)).collect();
        rest.sort_unstable();
        for (_, key) in rest {
            if let Some(live) = self.flows.remove(&key) {
                let end = live.state.close_reason();
                ended(over(key, *live, end));
            }
        }
    }
}

fn over(key: FlowKey, live: Live, end: End) -> EndedFlow {
    let upper_is_source = live.state.flags & flow_flags::UPPER_IS_SOURCE != 0;
    let id = FlowId { key, start_ns: live.state.start_ns, upper_is_source };
    EndedFlow { id, state: live.state, sequence: live.sequence, end }
}
