//! Programs that outlive their pins: filters on a clsact qdisc belong to a network namespace, and whoever takes ntc
//! away from another one does not see them.

use std::{
    collections::BTreeSet,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use aya::{maps::MapInfo, programs::loaded_programs};

use super::pins;

/// The kernel frees what nobody holds a moment later.
const MOMENT: Duration = Duration::from_secs(2);

/// The pinned maps of a directory, by the kernel's ids.
#[derive(Debug, Default)]
pub struct Leftovers(BTreeSet<u32>);

impl Leftovers {
    /// Looks at the maps while they are pinned.
    pub fn of(directory: &Path) -> Self {
        let id = |map| MapInfo::from_pin(directory.join(map)).ok().map(|info| info.id());
        Self(pins::PINNED.into_iter().filter_map(id).collect())
    }

    /// Names of the programs that still use one of the maps, a moment after the pins are gone. None where this process
    /// may not look at the kernel's programs.
    pub fn programs(&self) -> Vec<String> {
        let start = Instant::now();
        loop {
            let names: Vec<String> = loaded_programs()
                .filter_map(Result::ok)
                .filter(|program| {
                    let maps = program.map_ids().ok().flatten().unwrap_or_default();
                    maps.iter().any(|map| self.0.contains(map))
                })
                .map(|program| program.name_as_str().unwrap_or("a program").to_owned())
                .collect();
            if names.is_empty() || start.elapsed() > MOMENT {
                return names;
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}
