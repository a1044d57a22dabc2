//! What the agent costs and what it says: from `/proc`, its JSON lines, and the pinned labels.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use aya::maps::{self, Map, MapData, MapError};
use ntc_common::{
    key::FlowKey,
    label::{Label, Stage},
};
use serde::Serialize;
use serde_json::Value;

use crate::run::{
    net::Network,
    process::{Interrupt, output},
};

/// What a process holds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Cost {
    /// Resident memory in KiB.
    pub(crate) rss_kib: u64,
    /// Memory of the kernel's for its BPF maps, in KiB.
    pub(crate) maps_kib: u64,
    /// Open descriptors.
    pub(crate) descriptors: u64,
    /// Threads.
    pub(crate) threads: u64,
}

impl Cost {
    /// Of the process of this number.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).context("the agent's status")?;
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or_default()
        };
        // Two descriptors of one map are one map.
        let mut maps: BTreeMap<u64, u64> = BTreeMap::new();
        let mut descriptors = 0;
        for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
            // It may have been closed in between.
            let Ok(text) = fs::read_to_string(entry?.path()) else { continue };
            descriptors += 1;
            let field = |name: &str| {
                let line = text.lines().find_map(|line| line.strip_prefix(name));
                line.and_then(|rest| rest.trim_start_matches(':').trim().parse::<u64>().ok())
            };
            if let (Some(map), Some(bytes)) = (field("map_id"), field("memlock")) {
                maps.insert(map, bytes);
            }
        }
        Ok(Self {
            rss_kib: number("VmRSS:"),
            maps_kib: maps.values().sum::<u64>() / 1024,
            descriptors,
            threads: number("Threads:"),
        })
    }
}

impl Cost {
    /// The larger of each.
    pub(crate) fn most(self, other: Self) -> Self {
        Self {
            rss_kib: self.rss_kib.max(other.rss_kib),
            maps_kib: self.maps_kib.max(other.maps_kib),
            descriptors: self.descriptors.max(other.descriptors),
            threads: self.threads.max(other.threads),
        }
    }
}

/// The pinned labels.
pub(crate) struct Labels {
    map: maps::HashMap<MapData, FlowKey, Label>,
}

impl Labels {
    /// Opens them.
    pub(crate) fn open(network: &Network) -> Result<Self> {
        let path = PathBuf::from(network.pin_directory()).join("LABELS");
        let data = MapData::from_pin(&path).with_context(|| format!("opening {}", path.display()))?;
        Ok(Self { map: maps::HashMap::try_from(Map::from_map_data(data)?)? })
    }

    /// The label of a flow.
    pub(crate) fn get(&self, key: &FlowKey) -> Result<Option<Label>> {
        match self.map.get(key, 0) {
            Ok(label) => Ok(Some(label)),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Labels of all these flows, once each is final.
    pub(crate) fn all_final(
        &self,
        keys: &[FlowKey],
        limit: Duration,
        interrupt: &Interrupt,
    ) -> Result<HashMap<FlowKey, Label>> {
        let deadline = Instant::now() + limit;
        loop {
            let mut labels = HashMap::new();
            for key in keys {
                if let Some(label) = self.get(key)?.filter(|label| label.stage == Stage::Final as u8) {
                    labels.insert(*key, label);
                }
            }
            if labels.len() == keys.len() {
                return Ok(labels);
            }
            interrupt.check()?;
            let (have, want) = (labels.len(), keys.len());
            ensure!(
                Instant::now() < deadline,
                "after {limit:?} {have} of {want} live flows have a final label"
            );
            interrupt.sleep_until(Instant::now() + Duration::from_millis(200));
        }
    }

    /// How many of the flows still have the label that they had: same flow, same service.
    pub(crate) fn kept(&self, before: &HashMap<FlowKey, Label>) -> Result<usize> {
        let mut kept = 0;
        for (key, was) in before {
            let is = self.get(key)?;
            kept += usize::from(is.is_some_and(|is| {
                (is.start_ns, is.service, is.class) == (was.start_ns, was.service, was.class)
            }));
        }
        Ok(kept)
    }
}

/// What `ntc stats --format json` says, once the ledger closes; `false` if it does not within the limit. Packets are
/// under way all the time, so that one reading in a few may catch some.
pub(crate) fn stats(network: &Network, ntc: &std::path::Path, limit: Duration) -> Result<(Value, bool)> {
    let deadline = Instant::now() + limit;
    loop {
        let mut command = network.command("router", ntc);
        command.args(["stats", "--format", "json", "--pin-dir"]).arg(network.pin_directory());
        let stats: Value = serde_json::from_str(&output(&mut command)?)?;
        let closes = stats["ledger"]["closes"] == true;
        if closes || Instant::now() >= deadline {
            return Ok((stats, closes));
        }
    }
}

/// All numbers of a JSON value by their path.
pub(crate) fn numbers(value: &Value) -> BTreeMap<String, u64> {
    fn walk(path: &str, value: &Value, into: &mut BTreeMap<String, u64>) {
        match value {
            Value::Number(number) => {
                into.extend(number.as_u64().map(|number| (path.to_owned(), number)));
            }
            Value::Object(fields) => {
                for (name, value) in fields {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    walk(&path, value, into);
                }
            }
            _ => {}
        }
    }
    let mut into = BTreeMap::new();
    walk("", value, &mut into);
    into
}

/// Counters that tell of overload, as far as they grew. By name, since new ones come with the agent.
pub(crate) fn pressure(before: &Value, after: &Value) -> BTreeMap<String, u64> {
    const WORDS: [&str; 10] =
        ["shed", "deferred", "lost", "evict", "full", "headless", "gapped", "failed", "stale", "resumed"];
    let before = numbers(before);
    let grown = numbers(after).into_iter().map(|(name, value)| {
        let was = before.get(&name).copied().unwrap_or_default();
        (name, value.saturating_sub(was))
    });
    grown.filter(|(name, by)| *by > 0 && WORDS.iter().any(|word| name.contains(word))).collect()
}
