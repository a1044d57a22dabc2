//! Kernel memory of maps, as the kernel itself charges it.

use std::{collections::BTreeMap, fs};

use anyhow::Result;
use aya::maps::MapInfo;

/// Bytes by map name, over all maps that this process holds open.
///
/// # Errors
/// `/proc` cannot be read.
pub fn of_open_maps() -> Result<BTreeMap<String, u64>> {
    let mut maps = BTreeMap::new();
    for entry in fs::read_dir("/proc/self/fdinfo")? {
        // A descriptor may be closed meanwhile: this folder's own always is.
        let Ok(text) = fs::read_to_string(entry?.path()) else { continue };
        let field = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            value.and_then(|value| value.trim().parse::<u64>().ok())
        };
        let (Some(id), Some(bytes)) = (field("map_id"), field("memlock")) else { continue };
        let info = MapInfo::from_id(id as u32)?;
        // One map has several descriptors, all with the same account.
        maps.insert(info.name_as_str().unwrap_or("?").to_owned(), bytes);
    }
    Ok(maps)
}
