//! `POLICY`, `POLICY_ACTIVE`: what is done with an answer. `CLASS_COUNTERS`, `SERVICE_COUNTERS`, `ENFORCEMENT`: what was
//! done.

use aya_ebpf::{
    btf_maps::{Array, PerCpuArray},
    macros::btf_map,
};
use ntc_common::{
    limits::{MAX_CLASSES, MAX_SERVICES},
    policy::{ClassCounter, Enforcement, PolicyTable, PolicyText},
};

use crate::shadow;

#[btf_map]
static POLICY: Array<PolicyTable, 2> = Array::new();

/// Policies applied so far: the last bit tells which of the two counts.
#[btf_map]
static POLICY_ACTIVE: Array<u32, 1> = Array::new();

#[btf_map]
static POLICY_TEXT: Array<PolicyText, 2> = Array::new();

#[btf_map]
static CLASS_COUNTERS: PerCpuArray<ClassCounter, { MAX_CLASSES as usize }> = PerCpuArray::new();

#[btf_map]
static SERVICE_COUNTERS: PerCpuArray<ClassCounter, { MAX_SERVICES as usize }> = PerCpuArray::new();

#[btf_map]
static ENFORCEMENT: PerCpuArray<Enforcement, 1> = PerCpuArray::new();

/// The slot of the policy that counts. Asked for once a packet: what is decided after that, this one decides.
#[inline(always)]
pub fn slot() -> Option<u32> {
    Some(*POLICY_ACTIVE.get(0)? & 1)
}

/// The policy in a slot, or the shadow's.
#[inline(always)]
pub fn table(slot: u32) -> Option<&'static PolicyTable> {
    if slot == shadow::SLOT { shadow::table() } else { POLICY.get(slot & 1) }
}

/// Counts what leaves in a class.
#[inline(always)]
pub fn count_class(class: u8, wire: Wire) {
    if let Some(counter) = CLASS_COUNTERS.get_ptr_mut(class.into()) {
        wire.add_to(counter);
    }
}

/// Counts what leaves of a service.
#[inline(always)]
pub fn count_service(service: u16, wire: Wire) {
    if let Some(counter) = SERVICE_COUNTERS.get_ptr_mut(service.into()) {
        wire.add_to(counter);
    }
}

/// What a buffer is on the wire.
#[derive(Clone, Copy)]
pub struct Wire {
    /// Packets.
    pub packets: u64,
    /// Their bytes, link headers included.
    pub bytes: u64,
}

impl Wire {
    /// Adds it to this CPU's slot of a counter.
    #[inline(always)]
    pub fn add_to(self, counter: *mut ClassCounter) {
        // SAFETY: this CPU's own slot.
        let counter = unsafe { &mut *counter };
        counter.packets += self.packets;
        counter.bytes += self.bytes;
    }
}

/// This CPU's counts.
#[inline(always)]
pub fn this_cpu() -> Option<&'static mut Enforcement> {
    let counts = ENFORCEMENT.get_ptr_mut(0)?;
    // SAFETY: this CPU's own slot, used by this program run only.
    Some(unsafe { &mut *counts })
}
