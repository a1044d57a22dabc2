//! `BPF_MAP_LOOKUP_BATCH` (Linux 5.6): many entries of a hash map in one system call. aya 0.14 has no wrapper for it.

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _},
};

use aya::{
    Pod,
    maps::{HashMap, IterableMap as _, MapData},
};

/// `enum bpf_cmd` (include/uapi/linux/bpf.h).
const BPF_MAP_LOOKUP_BATCH: libc::c_long = 24;
/// Entries a call. A bucket that holds more would be refused (ENOSPC); the kernel's hash tables have as many buckets as
/// entries.
const ENTRIES: u32 = 4096;

/// The part of `union bpf_attr` that batch commands read and write.
#[repr(C)]
struct Attributes {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// Room for one call's entries, kept between walks.
#[derive(Debug)]
pub struct Batch<K, V> {
    keys: Vec<K>,
    values: Vec<V>,
}

impl<K: Pod, V: Pod> Default for Batch<K, V> {
    fn default() -> Self {
        let room = ENTRIES as usize;
        Self { keys: Vec::with_capacity(room), values: Vec::with_capacity(room) }
    }
}

impl<K: Pod, V: Pod> Batch<K, V> {
    /// Shows all entries of a hash map to `each`. What is inserted or removed meanwhile may be shown or not; nothing is
    /// shown twice.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn walk(&mut self, map: &HashMap<MapData, K, V>, mut each: impl FnMut(K, V)) -> io::Result<()> {
        let fd = map.map().fd().as_fd().as_raw_fd();
        // The kernel's place in the walk: a bucket's number.
        let (mut place, mut next) = (0u32, 0u32);
        let mut first = true;
        loop {
            let mut attributes = Attributes {
                in_batch: if first { 0 } else { (&raw const place) as u64 },
                out_batch: (&raw mut next) as u64,
                keys: self.keys.as_mut_ptr() as u64,
                values: self.values.as_mut_ptr() as u64,
                count: ENTRIES,
                map_fd: fd as u32,
                elem_flags: 0,
                flags: 0,
            };
            // SAFETY: the attributes are of the size given, keys and values have room for `count` entries of the
            // map's own types (aya compared their sizes when it opened the map), and all outlive the call.
            let outcome = unsafe {
                libc::syscall(
                    libc::SYS_bpf,
                    BPF_MAP_LOOKUP_BATCH,
                    &raw mut attributes,
                    size_of::<Attributes>() as libc::c_long,
                )
            };
            let error = (outcome < 0).then(io::Error::last_os_error);
            // ENOENT: the last entries.
            let last = error.as_ref().is_some_and(|error| error.raw_os_error() == Some(libc::ENOENT));
            if let Some(error) = error.filter(|_| !last) {
                return Err(error);
            }
            let filled = attributes.count.min(ENTRIES) as usize;
            // SAFETY: the kernel has written so many keys and values, and any bytes are a `Pod`.
            unsafe {
                self.keys.set_len(filled);
                self.values.set_len(filled);
            }
            self.keys.iter().zip(&self.values).for_each(|(key, value)| each(*key, *value));
            self.keys.clear();
            self.values.clear();
            if last {
                return Ok(());
            }
            (place, first) = (next, false);
        }
    }
}
