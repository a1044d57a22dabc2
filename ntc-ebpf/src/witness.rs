//! `WITNESS`: programs tell that they run.

use aya_ebpf::{btf_maps::Array, macros::btf_map};
use ntc_common::witness::{SLOTS, slot};

#[btf_map]
static WITNESS: Array<u32, { SLOTS as usize }> = Array::new();

/// Tells that a program runs on an interface. Written once until the agent takes it back, so that the line stays in
/// every CPU's cache; of two programs at the same instant one may have to tell it again with its next packet.
#[inline(always)]
pub fn ran(ifindex: u32, program: u32) {
    let Some(word) = WITNESS.get_ptr_mut(slot(ifindex)) else { return };
    // SAFETY: an aligned word of the map, which the kernel keeps for as long as the program; volatile, since others
    // write it.
    unsafe {
        let told = word.read_volatile();
        if told & program == 0 {
            word.write_volatile(told | program);
        }
    }
}
