//! `SERVICES`, `CLASSES`: what is done with an answer. `CLASS_COUNTERS`, `ENFORCEMENT`: what was done.

use aya_ebpf::{
    btf_maps::{Array, PerCpuArray},
    macros::btf_map,
};
use ntc_common::{
    label::Label,
    limits::{MAX_CLASSES, MAX_SERVICES},
    policy::{ClassAction, ClassCounter, Enforcement, ServiceAction},
};

#[btf_map]
static SERVICES: Array<ServiceAction, { MAX_SERVICES as usize }> = Array::new();

#[btf_map]
static CLASSES: Array<ClassAction, { MAX_CLASSES as usize }> = Array::new();

#[btf_map]
static CLASS_COUNTERS: PerCpuArray<ClassCounter, { MAX_CLASSES as usize }> = PerCpuArray::new();

#[btf_map]
static ENFORCEMENT: PerCpuArray<Enforcement, 1> = PerCpuArray::new();

/// The class that the policy gives a label; `None`: leave the packet alone.
#[inline(always)]
pub fn class_of(label: &Label) -> Option<u8> {
    let service = SERVICES.get(label.service.into())?;
    (service.class != 0 && label.confidence >= service.min_confidence).then_some(service.class)
}

/// What is done with a class.
#[inline(always)]
pub fn action(class: u8) -> Option<&'static ClassAction> {
    CLASSES.get(class.into())
}

/// Counts what leaves in a class.
#[inline(always)]
pub fn count(class: u8, packets: u64, bytes: u64) {
    if let Some(counter) = CLASS_COUNTERS.get_ptr_mut(class.into()) {
        // SAFETY: this CPU's own slot.
        let counter = unsafe { &mut *counter };
        counter.packets += packets;
        counter.bytes += bytes;
    }
}

/// This CPU's counts.
#[inline(always)]
pub fn this_cpu() -> Option<&'static mut Enforcement> {
    let counts = ENFORCEMENT.get_ptr_mut(0)?;
    // SAFETY: this CPU's own slot, used by this program run only.
    Some(unsafe { &mut *counts })
}
