//! Whether attached programs run: packets that pass an interface must show in `WITNESS`.

use std::collections::BTreeMap;

use aya::{
    Ebpf,
    maps::{Array, MapData},
};
use ntc_common::witness::{self, slot};

use crate::kernel::{KernelError, netlink::links::Link};

/// So many packets in a period without a run are suspicious; fewer may have been counted late.
const PACKETS: u64 = 16;
/// So many such periods in a row make it certain: a card's counters may lag behind by one.
const PERIODS: u8 = 2;

/// A program of which runs are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Program {
    /// At XDP.
    Xdp,
    /// At tc ingress.
    TcIngress,
    /// At tc egress.
    TcEgress,
}

impl Program {
    const fn bit(self) -> u32 {
        match self {
            Self::Xdp => witness::XDP,
            Self::TcIngress => witness::TC_INGRESS,
            Self::TcEgress => witness::TC_EGRESS,
        }
    }

    /// As output has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Xdp => "XDP",
            Self::TcIngress => "tc ingress",
            Self::TcEgress => "tc egress",
        }
    }

    /// Packets that it should have seen.
    const fn packets(self, link: &Link) -> u64 {
        match self {
            Self::Xdp | Self::TcIngress => link.rx_packets,
            Self::TcEgress => link.tx_packets,
        }
    }
}

/// What the self-test found, once for each change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Packets pass and the program runs: for the first time, or again.
    Runs,
    /// So many packets passed in a period and it did not run.
    Silent(u64),
}

/// What is known of one program on one interface.
#[derive(Clone, Copy, Debug, Default)]
struct Watched {
    packets: Option<u64>,
    suspicious: u8,
    verdict: Option<Verdict>,
}

impl Watched {
    /// Takes a period's counter and witness; a change of verdict, if it is one.
    fn judge(&mut self, packets: u64, ran: bool) -> Option<Verdict> {
        let passed = self.packets.replace(packets).map_or(0, |before| packets.saturating_sub(before));
        if ran {
            self.suspicious = 0;
            let new = self.verdict != Some(Verdict::Runs);
            self.verdict = Some(Verdict::Runs);
            return self.verdict.filter(|_| new);
        }
        if passed < PACKETS {
            return None;
        }
        self.suspicious = self.suspicious.saturating_add(1);
        let new = self.suspicious == PERIODS;
        if new {
            self.verdict = Some(Verdict::Silent(passed));
        }
        self.verdict.filter(|_| new)
    }
}

/// Compares packet counters with what the programs tell.
pub struct Witness {
    told: Array<MapData, u32>,
    watched: BTreeMap<(u32, Program), Watched>,
}

impl Witness {
    /// Takes the map.
    ///
    /// # Errors
    /// The object has none.
    pub fn open(ebpf: &mut Ebpf) -> Result<Self, KernelError> {
        let map = ebpf.take_map("WITNESS").ok_or(KernelError::Missing("WITNESS"))?;
        let told = Array::try_from(map).map_err(KernelError::map("WITNESS"))?;
        Ok(Self { told, watched: BTreeMap::new() })
    }

    /// Looks at all programs, once a period. Forgets those that are not named.
    ///
    /// # Errors
    /// The map cannot be read or written.
    pub fn look<'a>(
        &mut self,
        programs: impl Iterator<Item = (&'a Link, Program)>,
    ) -> Result<Vec<(u32, Program, Verdict)>, KernelError> {
        let failed = KernelError::map;
        let (mut verdicts, mut watched) = (Vec::new(), BTreeMap::new());
        for (link, program) in programs {
            let told = self.told.get(&slot(link.index), 0).map_err(failed("WITNESS"))?;
            let mut known = self.watched.get(&(link.index, program)).copied().unwrap_or_default();
            let verdict = known.judge(program.packets(link), told & program.bit() != 0);
            verdicts.extend(verdict.map(|verdict| (link.index, program, verdict)));
            watched.insert((link.index, program), known);
        }
        for (index, _) in watched.keys() {
            self.told.set(slot(*index), 0, 0).map_err(failed("WITNESS"))?;
        }
        self.watched = watched;
        Ok(verdicts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_without_runs_are_told_once_and_runs_take_it_back() {
        let mut watched = Watched::default();
        assert_eq!(watched.judge(1_000, false), None, "nothing to compare with");
        assert_eq!(watched.judge(1_000, false), None, "no packets");
        assert_eq!(watched.judge(1_100, false), None, "may have been counted late");
        assert_eq!(watched.judge(1_200, false), Some(Verdict::Silent(100)));
        assert_eq!(watched.judge(1_300, false), None, "told already");
        assert_eq!(watched.judge(1_400, true), Some(Verdict::Runs));
        assert_eq!(watched.judge(1_500, true), None, "told already");
        assert_eq!(watched.judge(1_501, false), None, "few packets");
        assert_eq!(watched.judge(1_601, false), None);
        assert_eq!(watched.judge(1_602, true), None, "it had run all the time");
    }
}
