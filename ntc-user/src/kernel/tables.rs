//! ntc's maps as tables, by their pins: for the agent and for every other reader.

use std::path::Path;

use aya::maps::{Array, HashMap, MapData, MapInfo, PerCpuArray, PerCpuValues};
use ntc_common::{
    key::FlowKey,
    label::{Heartbeat, Label},
    ledger::Ledger,
    limits::MAX_CLASSES,
    policy::{ClassCounter, Enforcement, PolicyTable, shadow_cell},
};

use super::{KernelError, pins, policy::PolicyMaps};
use crate::{catalogue::Catalogue, policy::class_name};

/// The map of labels that count.
pub const LABELS: &str = "LABELS";
/// The map of those that another model or policy would have given.
pub const SHADOW_LABELS: &str = "SHADOW_LABELS";

/// A map of labels.
pub type Labels = HashMap<MapData, FlowKey, Label>;

/// Opens the labels.
///
/// # Errors
/// No pins, or not readable.
pub fn labels(directory: &Path) -> Result<Labels, KernelError> {
    labels_in(directory, LABELS)
}

/// Opens a map of labels: [`LABELS`] or [`SHADOW_LABELS`].
///
/// # Errors
/// No pins, or not readable.
pub fn labels_in(directory: &Path, map: &'static str) -> Result<Labels, KernelError> {
    HashMap::try_from(pins::open(directory, map)?).map_err(KernelError::map(map))
}

/// Labels that such a map has room for.
///
/// # Errors
/// No pins, or not readable.
pub fn label_capacity(directory: &Path, map: &'static str) -> Result<usize, KernelError> {
    let info = MapInfo::from_pin(directory.join(map)).map_err(KernelError::map(map))?;
    Ok(info.max_entries() as usize)
}

/// The counts of all CPUs together.
#[derive(Clone, Debug)]
pub struct Counts {
    /// Capture.
    pub ledger: Ledger,
    /// Enforcement.
    pub enforcement: Enforcement,
    /// By class.
    pub classes: Vec<ClassCounter>,
    /// Services that packets left of, by id.
    pub services: Vec<(u16, ClassCounter)>,
    /// The policy's names for classes, by number.
    pub class_names: Vec<Option<String>>,
    /// What a shadow would have done, where there is one.
    pub shadow: Vec<ShadowCount>,
    /// Whether labels may count: the slot that the agent moves.
    pub heartbeat: Heartbeat,
}

/// Packets that had one class and would have had another, or the same.
#[derive(Clone, Debug)]
pub struct ShadowCount {
    /// Number of the class that they had; 0: left alone.
    pub class: u8,
    /// Number of that which they would have had.
    pub would: u8,
    /// Its name in the shadow's policy.
    pub would_name: Option<String>,
    /// How many.
    pub counter: ClassCounter,
}

/// Reads all counters.
///
/// # Errors
/// No pins, or not readable.
pub fn counts(directory: &Path) -> Result<Counts, KernelError> {
    let mut counts = Counts {
        ledger: Ledger::ZERO,
        enforcement: Enforcement::ZERO,
        classes: Vec::new(),
        services: Vec::new(),
        class_names: Vec::new(),
        shadow: Vec::new(),
        heartbeat: Heartbeat { deadline: 0, set_at: 0 },
    };
    let ledger = PerCpuArray::<_, Ledger>::try_from(pins::open(directory, "LEDGER")?)
        .and_then(|map| map.get(&0, 0))
        .map_err(KernelError::map("LEDGER"))?;
    ledger.iter().for_each(|cpu| counts.ledger.add(cpu));
    let enforcement = PerCpuArray::<_, Enforcement>::try_from(pins::open(directory, "ENFORCEMENT")?)
        .and_then(|map| map.get(&0, 0))
        .map_err(KernelError::map("ENFORCEMENT"))?;
    enforcement.iter().for_each(|cpu| counts.enforcement.add(cpu));
    let classes = PerCpuArray::<_, ClassCounter>::try_from(pins::open(directory, "CLASS_COUNTERS")?)
        .map_err(KernelError::map("CLASS_COUNTERS"))?;
    for class in 0..MAX_CLASSES {
        let cpus = classes.get(&class, 0).map_err(KernelError::map("CLASS_COUNTERS"))?;
        counts.classes.push(sum(&cpus));
    }
    let services = PerCpuArray::<_, ClassCounter>::try_from(pins::open(directory, "SERVICE_COUNTERS")?)
        .map_err(KernelError::map("SERVICE_COUNTERS"))?;
    let mut ids: Vec<u16> = Catalogue::shipped().services().map(|service| service.id).collect();
    ids.sort_unstable();
    for id in ids {
        let cpus = services.get(&id.into(), 0).map_err(KernelError::map("SERVICE_COUNTERS"))?;
        let counter = sum(&cpus);
        if counter.packets > 0 {
            counts.services.push((id, counter));
        }
    }
    let table = PolicyMaps::open(directory)?.table()?;
    counts.class_names = (0..MAX_CLASSES as u8).map(|class| class_name(&table, class)).collect();
    // Only where a shadow is counted do its labels have room.
    if label_capacity(directory, SHADOW_LABELS)? > 1 {
        counts.shadow = shadow(directory, &table)?;
    }
    counts.heartbeat = Array::<_, Heartbeat>::try_from(pins::open(directory, "HEARTBEAT")?)
        .and_then(|map| map.get(&0, 0))
        .map_err(KernelError::map("HEARTBEAT"))?;
    Ok(counts)
}

fn shadow(directory: &Path, acting: &PolicyTable) -> Result<Vec<ShadowCount>, KernelError> {
    let failed = KernelError::map;
    let own = Array::<_, PolicyTable>::try_from(pins::open(directory, "SHADOW_POLICY")?)
        .and_then(|map| map.get(&0, 0))
        .map(Box::new)
        .map_err(failed("SHADOW_POLICY"))?;
    // A policy has a mask; none was written where the shadow is another model alone.
    let table = if own.mark_mask == 0 { acting } else { &own };
    let counters = PerCpuArray::<_, ClassCounter>::try_from(pins::open(directory, "SHADOW_COUNTERS")?)
        .map_err(failed("SHADOW_COUNTERS"))?;
    let mut counts = Vec::new();
    for class in 0..MAX_CLASSES as u8 {
        for would in 0..MAX_CLASSES as u8 {
            let cpus = counters.get(&shadow_cell(class, would), 0).map_err(failed("SHADOW_COUNTERS"))?;
            let counter = sum(&cpus);
            if counter.packets > 0 {
                counts.push(ShadowCount { class, would, would_name: class_name(table, would), counter });
            }
        }
    }
    Ok(counts)
}

fn sum(cpus: &PerCpuValues<ClassCounter>) -> ClassCounter {
    let mut sum = ClassCounter { packets: 0, bytes: 0 };
    for cpu in cpus.iter() {
        sum.packets += cpu.packets;
        sum.bytes += cpu.bytes;
    }
    sum
}

/// Forgets what an earlier agent said of interfaces: their indices may be others' by now.
///
/// # Errors
/// No pins, or not writable.
pub fn forget_interfaces(directory: &Path) -> Result<(), KernelError> {
    let failed = KernelError::map;
    let mut map = HashMap::<_, u32, u32>::try_from(pins::open(directory, "INTERFACES")?)
        .map_err(failed("INTERFACES"))?;
    let known: Vec<u32> = map.keys().filter_map(Result::ok).collect();
    known.iter().try_for_each(|index| map.remove(index)).map_err(failed("INTERFACES"))
}
