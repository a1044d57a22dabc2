//! Loading the object: settings in, programs verified, maps pinned or taken over.

use aya::{
    Ebpf, EbpfLoader,
    maps::Array,
    programs::{SchedClassifier, SocketFilter, Xdp},
};
use ntc_common::{
    flow::FlowRule,
    key::FlowKey,
    label::{Heartbeat, Label},
    ledger::Ledger,
    limits::{DEFAULT_MAX_FLOWS, DEFAULT_RING_BYTES, FLOW_WAYS, MAX_CLASSES, MAX_INTERFACES, MAX_SERVICES},
    policy::{ClassCounter, Enforcement, PolicyTable, PolicyText},
    table::{FlowHash, FlowSet, FlowSlot, sets_for},
};
use rustix::rand::{GetRandomFlags, getrandom};

use super::{
    KernelError,
    pins::{MapSize, PINNED, PinDirectory, SHADOW},
};

/// The object, built by `build.rs` from `ntc-ebpf`.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/ntc-ebpf"));

/// The program at XDP.
pub const XDP: &str = "ntc_xdp";
/// The program at tc ingress.
pub const TC_INGRESS: &str = "ntc_tc_ingress";
/// The program at tc egress.
pub const TC_EGRESS: &str = "ntc_tc_egress";
/// The program that moves the labels' deadline.
pub const HEARTBEAT: &str = "ntc_heartbeat";

/// What the kernel side is to be like.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// When flows end.
    pub rule: FlowRule,
    /// Live flows, and labels, that the tables hold.
    pub max_flows: u32,
    /// Bytes of the record ring; a power of two of pages.
    pub ring_bytes: u32,
    /// [`shadow_flags`](ntc_common::policy::shadow_flags).
    pub shadow: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            rule: FlowRule::DEFAULT,
            max_flows: DEFAULT_MAX_FLOWS,
            ring_bytes: DEFAULT_RING_BYTES,
            shadow: 0,
        }
    }
}

/// Loads the object; with `pins`, maps are pinned there, or taken over if they fit. Every program is
/// verified, none is attached.
///
/// # Errors
/// Pins that do not fit, or what the kernel refused.
pub fn load(settings: &Settings, pins: Option<&PinDirectory>) -> Result<Ebpf, KernelError> {
    // Without a shadow the map is there, and takes no memory.
    let shadow_labels = if settings.shadow == 0 { 1 } else { settings.max_flows };
    let mut loader = EbpfLoader::new();
    loader
        .override_global("FLOW_RULE", &settings.rule, true)
        .override_global("SHADOW", &settings.shadow, true)
        .map_max_entries("FLOW_SETS", sets_for(settings.max_flows))
        .map_max_entries("FLOWS", sets_for(settings.max_flows) * FLOW_WAYS as u32)
        .map_max_entries("LABELS", settings.max_flows)
        .map_max_entries("SHADOW_LABELS", shadow_labels)
        .map_max_entries("PACKETS", settings.ring_bytes);
    if let Some(pins) = pins {
        for map in PINNED {
            if SHADOW.contains(&map) {
                // A shadow is an agent's own: another one's counts would say nothing of it.
                pins.forget(map)?;
            } else {
                pins.check(map, size(map, settings.max_flows))?;
            }
            loader.map_pin_path(map, pins.path().join(map));
        }
    }
    let mut ebpf = loader.load(OBJECT).map_err(|source| KernelError::Load(Box::new(source)))?;
    set_hash(&mut ebpf, settings.max_flows)?;
    let refused = |program| move |source| KernelError::Program { program, source: Box::new(source) };
    program::<Xdp>(&mut ebpf, XDP)?.load().map_err(refused(XDP))?;
    for name in [TC_INGRESS, TC_EGRESS] {
        program::<SchedClassifier>(&mut ebpf, name)?.load().map_err(refused(name))?;
    }
    program::<SocketFilter>(&mut ebpf, HEARTBEAT)?.load().map_err(refused(HEARTBEAT))?;
    Ok(ebpf)
}

/// As [`load`], over the maps that another agent left. With `replace`, those that do not fit give way.
///
/// # Errors
/// As [`load`].
pub fn over(settings: &Settings, pins: &mut PinDirectory, replace: bool) -> Result<Ebpf, KernelError> {
    match load(settings, Some(pins)) {
        Err(error @ KernelError::PinMismatch { .. }) if replace => {
            tracing::warn!(%error, "they give way: labels and counters begin anew");
            pins.clear()?;
            load(settings, Some(pins))
        }
        outcome => outcome,
    }
}

/// A program of the object by name and type.
///
/// # Errors
/// The object has none such.
pub fn program<'a, P>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut P, KernelError>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program>,
{
    ebpf.program_mut(name).and_then(|program| program.try_into().ok()).ok_or(KernelError::Missing(name))
}

/// Draws the flow table's hash, unless the table was taken over: then its flows stand where the old one put them.
fn set_hash(ebpf: &mut Ebpf, max_flows: u32) -> Result<(), KernelError> {
    let map = ebpf.map_mut("FLOW_HASH").ok_or(KernelError::Missing("FLOW_HASH"))?;
    let mut map = Array::<_, FlowHash>::try_from(map).map_err(KernelError::map("FLOW_HASH"))?;
    let mut hash = map.get(&0, 0).map_err(KernelError::map("FLOW_HASH"))?;
    if hash.sets != 0 {
        return Ok(());
    }
    for key in &mut hash.keys {
        let mut bytes = [0; 8];
        getrandom(&mut bytes, GetRandomFlags::empty()).map_err(|error| KernelError::Random(error.into()))?;
        *key = u64::from_ne_bytes(bytes);
    }
    hash.sets = sets_for(max_flows).into();
    map.set(0, hash, 0).map_err(KernelError::map("FLOW_HASH"))
}

fn size(map: &str, max_flows: u32) -> MapSize {
    let of = |key, value, entries| MapSize { key: key as u32, value: value as u32, entries };
    let word = size_of::<u32>();
    match map {
        "LABELS" => of(size_of::<FlowKey>(), size_of::<Label>(), max_flows),
        "FLOW_SETS" => of(word, size_of::<FlowSet>(), sets_for(max_flows)),
        "FLOWS" => of(word, size_of::<FlowSlot>(), sets_for(max_flows) * FLOW_WAYS as u32),
        "FLOW_HASH" => of(word, size_of::<FlowHash>(), 1),
        "HEARTBEAT" => of(word, size_of::<Heartbeat>(), 1),
        "LEDGER" => of(word, size_of::<Ledger>(), 1),
        "ENFORCEMENT" => of(word, size_of::<Enforcement>(), 1),
        "CLASS_COUNTERS" => of(word, size_of::<ClassCounter>(), MAX_CLASSES),
        "SERVICE_COUNTERS" => of(word, size_of::<ClassCounter>(), MAX_SERVICES),
        "POLICY" => of(word, size_of::<PolicyTable>(), 2),
        "POLICY_TEXT" => of(word, size_of::<PolicyText>(), 2),
        "POLICY_ACTIVE" => of(word, word, 1),
        _ => of(word, word, MAX_INTERFACES),
    }
}
