//! The operator's rules, and the classes of marks. Global functions: the verifier looks at each of them once, and not once
//! for every way that a program may have come and every class that may come out.

use crate::{
    policy,
    scratch::{self, Scratch},
};

/// No rule matches.
pub const NONE: u32 = u32::MAX;

/// The class that the first rule of a policy gives that matches the scratch packet; `None` if none does.
#[inline(always)]
pub fn class_by_rule(slot: u32, macs: [u64; 2]) -> Option<u8> {
    let Scratch { packet, ends, .. } = scratch::this_cpu()?;
    ends.set(&packet.key, macs);
    match ntc_rule(slot) {
        NONE => None,
        class => Some(class as u8),
    }
}

/// The class whose mark this is; 0 if it is no class's.
#[inline(always)]
pub fn class_by_mark(slot: u32, mark: u32) -> u8 {
    ntc_mark(slot, mark) as u8
}

/// The class of the first rule that matches the flow in the scratch room.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn ntc_rule(slot: u32) -> u32 {
    let (Some(table), Some(Scratch { ends, .. })) = (policy::table(slot), scratch::this_cpu()) else {
        return NONE;
    };
    table.by_rule(ends).map_or(NONE, |(_, class)| class.into())
}

/// The class of a mark.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn ntc_mark(slot: u32, mark: u32) -> u32 {
    policy::table(slot).map_or(0, |table| table.by_mark(mark).into())
}
