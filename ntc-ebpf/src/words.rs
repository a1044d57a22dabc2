//! Atomic words. BPF has the instructions (`-C target-cpu=v3`), its Rust target has no types for them.

use core::intrinsics::{AtomicOrdering, atomic_cxchg, atomic_or, atomic_xadd, atomic_xchg};

use ntc_common::flow::Words;

/// Words of a map value, which another CPU may be changing.
pub struct Shared;

impl Words for Shared {
    #[inline(always)]
    fn fetch_add(word: &mut u64, value: u64) -> u64 {
        // Sequentially consistent: LLVM 22 turns a relaxed add whose result is used into one that returns
        // its operand.
        // SAFETY: `word` is a live, aligned word.
        unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::SeqCst }>(word, value) }
    }

    #[inline(always)]
    fn fetch_or(word: &mut u64, bits: u64) -> u64 {
        // SAFETY: as above.
        unsafe { atomic_or::<u64, u64, { AtomicOrdering::SeqCst }>(word, bits) }
    }
}

/// Puts `new` in place of `old`; `false` if something else was there.
///
/// # Safety
/// `word` is a live, aligned word.
#[inline(always)]
pub unsafe fn replace(word: *mut u32, old: u32, new: u32) -> bool {
    // SAFETY: the caller's.
    let (found, _) = unsafe {
        atomic_cxchg::<u32, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(word, old, new)
    };
    found == old
}

/// Puts `new` there, after all writes before.
///
/// # Safety
/// `word` is a live, aligned word.
#[inline(always)]
pub unsafe fn publish(word: *mut u32, new: u32) {
    // An exchange, since BPF's plain store orders nothing on machines that reorder stores.
    // SAFETY: the caller's.
    let _ = unsafe { atomic_xchg::<u32, { AtomicOrdering::SeqCst }>(word, new) };
}
