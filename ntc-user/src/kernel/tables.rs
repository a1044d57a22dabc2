//! ntc's maps as tables, by their pins: for the agent and for every other reader.

use std::{collections::BTreeMap, path::Path};

use aya::maps::{Array, HashMap, MapData, MapInfo, PerCpuArray};
use ntc_common::{
    key::FlowKey,
    label::{Heartbeat, Label},
    ledger::Ledger,
    limits::{MAX_CLASSES, MAX_SERVICES},
    policy::{ClassAction, ClassCounter, Enforcement, ServiceAction},
};

use super::{KernelError, pins};

/// `LABELS`.
pub type Labels = HashMap<MapData, FlowKey, Label>;

/// Opens the labels.
///
/// # Errors
/// No pins, or not readable.
pub fn labels(directory: &Path) -> Result<Labels, KernelError> {
    HashMap::try_from(pins::open(directory, "LABELS")?).map_err(KernelError::map("LABELS"))
}

/// Labels that there is room for.
///
/// # Errors
/// No pins, or not readable.
pub fn label_capacity(directory: &Path) -> Result<usize, KernelError> {
    let info = MapInfo::from_pin(directory.join("LABELS")).map_err(KernelError::map("LABELS"))?;
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
    /// Whether labels may count: the slot that the agent moves.
    pub heartbeat: Heartbeat,
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
        let mut sum = ClassCounter { packets: 0, bytes: 0 };
        for cpu in cpus.iter() {
            sum.packets += cpu.packets;
            sum.bytes += cpu.bytes;
        }
        counts.classes.push(sum);
    }
    counts.heartbeat = Array::<_, Heartbeat>::try_from(pins::open(directory, "HEARTBEAT")?)
        .and_then(|map| map.get(&0, 0))
        .map_err(KernelError::map("HEARTBEAT"))?;
    Ok(counts)
}

/// Writes a policy, see [`PolicyMaps::write`].
///
/// # Errors
/// No pins, or not writable.
pub fn write_policy(
    directory: &Path,
    services: &[(u16, ServiceAction)],
    classes: &[ClassAction],
) -> Result<(), KernelError> {
    PolicyMaps::open(directory)?.write(services, classes)
}

/// `SERVICES` and `CLASSES`, opened: whoever holds them can write a policy without any capability.
pub struct PolicyMaps {
    services: Array<MapData, ServiceAction>,
    classes: Array<MapData, ClassAction>,
}

impl std::fmt::Debug for PolicyMaps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PolicyMaps").finish_non_exhaustive()
    }
}

impl PolicyMaps {
    /// Opens the pinned maps.
    ///
    /// # Errors
    /// No pins, or not writable.
    pub fn open(directory: &Path) -> Result<Self, KernelError> {
        Ok(Self {
            services: Array::try_from(pins::open(directory, "SERVICES")?)
                .map_err(KernelError::map("SERVICES"))?,
            classes: Array::try_from(pins::open(directory, "CLASSES")?)
                .map_err(KernelError::map("CLASSES"))?,
        })
    }

    /// Writes a policy: classes first, so that no service points to an action that is not there. A service that it does
    /// not name is left alone, also where the policy before had an action for it.
    ///
    /// # Errors
    /// A map could not be written.
    pub fn write(
        &mut self,
        services: &[(u16, ServiceAction)],
        classes: &[ClassAction],
    ) -> Result<(), KernelError> {
        for (class, action) in (0..MAX_CLASSES).zip(classes) {
            self.classes.set(class, action, 0).map_err(KernelError::map("CLASSES"))?;
        }
        let named: BTreeMap<u32, ServiceAction> =
            services.iter().map(|(id, action)| (u32::from(*id), *action)).collect();
        for service in 0..MAX_SERVICES {
            let action = named.get(&service).unwrap_or(&ServiceAction::NONE);
            self.services.set(service, action, 0).map_err(KernelError::map("SERVICES"))?;
        }
        Ok(())
    }
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
