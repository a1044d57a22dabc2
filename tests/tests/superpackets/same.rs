//! ntc on interfaces, and its sequences beside those of a tap.

use std::{
    collections::HashMap,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use ntc_common::{
    flow::FlowState,
    key::{FlowKey, IPPROTO_UDP},
    ledger::Ledger,
};
use ntc_tests::{
    kernel::Programs,
    net::Namespace,
    patience::patient,
    tap::{Seen, Tap},
};
use ntc_user::{
    kernel::{flow_table::FlowTable, load::Settings},
    sequence::{Element, Sequence},
};

/// Until the last packets have gone both ways, and tcpdump has written them.
const PATIENCE: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_millis(50);

/// The programs on interfaces, and the sequences of their records.
pub struct Live {
    programs: Programs,
    sequences: HashMap<FlowKey, Sequence>,
    places: u64,
}

impl Live {
    /// Captures on interfaces of a namespace.
    pub fn start(namespace: &Namespace, captured: &[&str]) -> anyhow::Result<Self> {
        let mut programs = Programs::load(&Settings::default())?;
        captured.iter().try_for_each(|interface| programs.capture_on(namespace, interface))?;
        Ok(Self { programs, sequences: HashMap::new(), places: 0 })
    }

    /// Waits until both have seen the same, and returns where the packets went; else the first difference.
    pub fn until_same(&mut self, tap: &Tap) -> anyhow::Result<Ledger> {
        let deadline = Instant::now() + patient(PATIENCE);
        loop {
            let ledger = self.programs.ledger()?;
            while let Some(record) = self.programs.record() {
                let sequence = self.sequences.entry(record.key).or_default();
                ensure!(sequence.place(&record), "{record:?} fits nowhere");
                self.places += u64::from(record.places);
            }
            match self.same(&ledger, &tap.seen()?) {
                Ok(()) => return Ok(ledger),
                Err(_) if Instant::now() < deadline => thread::sleep(AGAIN),
                Err(difference) => return Err(difference),
            }
        }
    }

    fn same(&self, ledger: &Ledger, tap: &Seen) -> anyhow::Result<()> {
        ensure!(ledger.closes() && ledger.dropped() == 0, "{ledger:?}");
        ensure!(ledger.recorded == self.places, "{} places recorded: {ledger:?}", self.places);
        let of_flows = |ledger: &Ledger| ledger.seen - ledger.not_flow_total();
        ensure!(
            of_flows(ledger) == of_flows(&tap.ledger),
            "packets differ: live {ledger:?}, tap {:?}",
            tap.ledger
        );
        ensure!(!tap.flows.is_empty(), "the tap saw nothing");
        ensure!(
            self.sequences.len() == tap.flows.len(),
            "{} flows live, {} at the tap",
            self.sequences.len(),
            tap.flows.len()
        );
        for (key, flow) in &tap.flows {
            let sequence = self.sequences.get(key).with_context(|| format!("{:?} is missing", flow.id))?;
            let state = self.state(key)?;
            ensure!(
                (state.packets, state.bytes) == (flow.state.packets, flow.state.bytes),
                "live {state:?}, tap {:?}",
                flow.state
            );
            same_packets(key, sequence.packets(), flow.sequence.packets())
                .with_context(|| format!("{:?}", flow.id))?;
        }
        Ok(())
    }

    fn state(&self, key: &FlowKey) -> anyhow::Result<FlowState> {
        FlowTable::of(&self.programs.ebpf)?.get(key).context("the flow is not in the table")
    }
}

type Fields = (u32, u16, u8, u8);

fn fields(packets: &[Element]) -> Vec<Fields> {
    packets.iter().map(|p| (p.payload_len, p.window, p.tcp_flags, p.direction)).collect()
}

/// Packet for packet. TCP's two directions have no order between them that two places on a path must agree on:
/// acknowledgements pass data. The datagrams here take turns, and a VXLAN's are another flow each way.
fn same_packets(key: &FlowKey, live: &[Element], tap: &[Element]) -> anyhow::Result<()> {
    ensure!(live.len() == tap.len(), "{} packets live, {} at the tap", live.len(), tap.len());
    let (live, tap) = (fields(live), fields(tap));
    if key.protocol == IPPROTO_UDP {
        ensure!(live == tap, "live {live:?}, tap {tap:?}");
        return Ok(());
    }
    for direction in [0, 1] {
        let way = |packets: &[Fields]| -> Vec<Fields> {
            packets.iter().filter(|packet| packet.3 == direction).copied().collect()
        };
        let (live, tap) = (way(&live), way(&tap));
        let both = live.len().min(tap.len());
        ensure!(live[..both] == tap[..both], "direction {direction}: live {live:?}, tap {tap:?}");
    }
    Ok(())
}
