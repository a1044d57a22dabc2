//! The kernel's flow table, mapped into this process: reading a flow is no system call.

use std::{
    ffi::c_void,
    os::fd::{AsFd, BorrowedFd},
    path::Path,
    ptr::{self, NonNull},
    sync::atomic::{AtomicU32, Ordering},
};

use aya::maps::{Array, MapData};
use ntc_common::{
    flow::{FlowRule, FlowState, Standing},
    key::FlowKey,
    limits::FLOW_WAYS,
    table::{self, CLAIMED, FREE, FlowHash, FlowSet, FlowSlot, Memory},
};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::{KernelError, pins};

/// A flow that is over keeps its place for so long: the kernel may just be beginning the next one on its key there.
const MARGIN_NS: u64 = 1_000_000_000;

/// `FLOW_SETS` and `FLOWS`. The kernel changes them all the while: what is read is copied, then looked at.
#[derive(Debug)]
pub struct FlowTable {
    sets: Mapping<FlowSet>,
    slots: Mapping<FlowSlot>,
    hash: FlowHash,
}

impl FlowTable {
    /// Maps the pinned table, for reading only.
    ///
    /// # Errors
    /// No pins, or not readable.
    pub fn open(directory: &Path) -> Result<Self, KernelError> {
        Self::map(directory, ProtFlags::READ)
    }

    /// Maps the pinned table, so that places can be [freed](Self::free_ended).
    ///
    /// # Errors
    /// No pins, or not writable.
    pub fn open_to_free(directory: &Path) -> Result<Self, KernelError> {
        Self::map(directory, ProtFlags::READ | ProtFlags::WRITE)
    }

    fn map(directory: &Path, access: ProtFlags) -> Result<Self, KernelError> {
        let hash = Array::<_, FlowHash>::try_from(pins::open(directory, "FLOW_HASH")?)
            .and_then(|map| map.get(&0, 0))
            .map_err(KernelError::map("FLOW_HASH"))?;
        let sets = Mapping::new("FLOW_SETS", data(&pins::open(directory, "FLOW_SETS")?), access)?;
        let slots = Mapping::new("FLOWS", data(&pins::open(directory, "FLOWS")?), ProtFlags::READ)?;
        Ok(Self { sets, slots, hash })
    }

    /// Maps the table of a loaded object.
    ///
    /// # Errors
    /// The object is of another build, or its maps cannot be mapped.
    pub fn of(ebpf: &aya::Ebpf) -> Result<Self, KernelError> {
        let map = |name| ebpf.map(name).ok_or(KernelError::Missing(name));
        let hash = Array::<_, FlowHash>::try_from(map("FLOW_HASH")?)
            .and_then(|map| map.get(&0, 0))
            .map_err(KernelError::map("FLOW_HASH"))?;
        let sets = Mapping::new("FLOW_SETS", data(map("FLOW_SETS")?), ProtFlags::READ | ProtFlags::WRITE)?;
        let slots = Mapping::new("FLOWS", data(map("FLOWS")?), ProtFlags::READ)?;
        Ok(Self { sets, slots, hash })
    }

    /// What the kernel knows of a flow.
    pub fn get(&self, key: &FlowKey) -> Option<FlowState> {
        let (slot, _) = table::find(self, &self.hash.place(key), key)?;
        // SAFETY: `find` returns slots of this mapping, which lives as long as `self`.
        let slot = unsafe { slot.read_volatile() };
        // The slot may have been given to another flow between look-up and copy.
        (slot.key == *key).then_some(slot.state)
    }

    /// All flows that stand in the table.
    pub fn iter(&self) -> impl Iterator<Item = (FlowKey, FlowState)> + '_ {
        self.places().map(|(_, _, slot)| (slot.key, slot.state))
    }

    /// Places that are taken.
    pub fn len(&self) -> usize {
        (0..self.sets.len)
            .flat_map(|set| (0..FLOW_WAYS).map(move |way| (set, way)))
            .filter(|(set, way)| self.tag(*set, *way).is_some_and(|tag| tag.load(Ordering::Relaxed) != FREE))
            .count()
    }

    /// Whether no place is taken.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Places that there are.
    pub const fn capacity(&self) -> usize {
        self.slots.len
    }

    /// Frees the places of flows that are over, so that new ones need not look for them; returns how many. Needs
    /// [`open_to_free`](Self::open_to_free) or [`of`](Self::of).
    pub fn free_ended(&self, now_ns: u64, rule: &FlowRule) -> usize {
        if !self.sets.writable {
            return 0;
        }
        let before_ns = now_ns.saturating_sub(MARGIN_NS);
        let over =
            |slot: &FlowSlot| slot.state.standing(slot.key.protocol, before_ns, rule) == Standing::Over;
        self.places()
            .filter(|(_, _, slot)| over(slot))
            .filter(|(tag, stands, _)| {
                tag.compare_exchange(*stands, FREE, Ordering::SeqCst, Ordering::Relaxed).is_ok()
            })
            .count()
    }

    fn places(&self) -> impl Iterator<Item = (&AtomicU32, u32, FlowSlot)> + '_ {
        (0..self.sets.len).flat_map(|set| (0..FLOW_WAYS).map(move |way| (set, way))).filter_map(
            |(set, way)| {
                let tag = self.tag(set, way)?;
                let stands = tag.load(Ordering::Acquire);
                if stands <= CLAIMED {
                    return None;
                }
                let slot = self.slots.get(set * FLOW_WAYS + way)?;
                // SAFETY: a pointer into the mapping, which lives as long as `self`.
                Some((tag, stands, unsafe { slot.read_volatile() }))
            },
        )
    }

    fn tag(&self, set: usize, way: usize) -> Option<&AtomicU32> {
        let set = self.sets.get(set)?;
        // SAFETY: a word of a mapped set, aligned; kernel and user space only touch it atomically or by volatile
        // reads, and the mapping lives as long as `self`.
        Some(unsafe { AtomicU32::from_ptr((&raw mut (*set).tags).cast::<u32>().add(way)) })
    }
}

impl Memory for FlowTable {
    fn set(&self, index: u32) -> Option<*mut FlowSet> {
        self.sets.get(index as usize)
    }

    fn slot(&self, index: u32) -> Option<*mut FlowSlot> {
        self.slots.get(index as usize)
    }

    fn worth(&self, slot: u32, now_ns: u64, rule: &FlowRule) -> u64 {
        table::worth(self, slot, now_ns, rule)
    }

    unsafe fn replace(&self, word: *mut u32, old: u32, new: u32) -> bool {
        // SAFETY: the caller's word lies in a set, aligned and mapped.
        let word = unsafe { AtomicU32::from_ptr(word) };
        word.compare_exchange(old, new, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }

    unsafe fn publish(&self, word: *mut u32, new: u32) {
        // SAFETY: as above.
        unsafe { AtomicU32::from_ptr(word) }.store(new, Ordering::SeqCst);
    }
}

fn data(map: &aya::maps::Map) -> Option<&MapData> {
    match map {
        aya::maps::Map::Array(data) => Some(data),
        _ => None,
    }
}

/// The elements of an array map.
#[derive(Debug)]
struct Mapping<T> {
    first: NonNull<T>,
    len: usize,
    writable: bool,
}

// SAFETY: the mapping belongs to the process, not to a thread; elements are only copied or touched atomically.
unsafe impl<T> Send for Mapping<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Mapping<T> {}

impl<T> Mapping<T> {
    fn new(name: &'static str, map: Option<&MapData>, access: ProtFlags) -> Result<Self, KernelError> {
        let map = map.ok_or(KernelError::Missing(name))?;
        let len = map.info().map_err(KernelError::map(name))?.max_entries() as usize;
        let first = map_array::<T>(map.fd().as_fd(), len, access).map_err(failed(name))?;
        Ok(Self { first, len, writable: access.contains(ProtFlags::WRITE) })
    }

    fn get(&self, index: usize) -> Option<*mut T> {
        // SAFETY: within the mapping.
        (index < self.len).then(|| unsafe { self.first.as_ptr().add(index) })
    }
}

fn map_array<T>(map: BorrowedFd<'_>, len: usize, access: ProtFlags) -> rustix::io::Result<NonNull<T>> {
    // SAFETY: a new mapping at a place of the kernel's choice touches no other memory.
    let address = unsafe { mmap(ptr::null_mut(), len * size_of::<T>(), access, MapFlags::SHARED, map, 0) }?;
    NonNull::new(address.cast()).ok_or(rustix::io::Errno::FAULT)
}

fn failed<E: Into<std::io::Error>>(map: &'static str) -> impl FnOnce(E) -> KernelError {
    move |error| KernelError::Mapping { map, source: error.into() }
}

impl<T> Drop for Mapping<T> {
    fn drop(&mut self) {
        // SAFETY: made by `map_array` with this length, and nothing points into it any more.
        let _ = unsafe { munmap(self.first.as_ptr().cast::<c_void>(), self.len * size_of::<T>()) };
    }
}
