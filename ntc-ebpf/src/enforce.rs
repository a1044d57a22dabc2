//! What a label does to a packet: mark, code point, priority.

use ntc_common::{
    packet::Packet,
    policy::{ClassAction, Enforcement, ExistingDscp},
};

use crate::{
    dscp, heartbeat, labels,
    parser::{PARSED, Parse as _},
    policy,
    scratch::{self, Scratch},
    settings,
    source::Skb,
};

/// At tc ingress: mark and code point. Not the priority: `ip_forward()` sets its own for IPv4.
#[inline(always)]
pub fn ingress(skb: &Skb, raw_ip: u32) {
    let Some(counts) = policy::this_cpu() else { return };
    counts.ingress += 1;
    let Some(packet) = packet(skb, raw_ip, counts) else { return };
    match by_label(packet) {
        Some((_, action)) => {
            counts.labelled += 1;
            apply(skb, packet, action, counts);
        }
        None => counts.unlabelled += 1,
    }
}

/// At tc egress: priority as well, from the label or, where NAT made it another tuple, from the mark.
#[inline(always)]
pub fn egress(skb: &Skb, raw_ip: u32) {
    let Some(counts) = policy::this_cpu() else { return };
    counts.egress += 1;
    let Some(packet) = packet(skb, raw_ip, counts) else { return };
    let (class, action) = if let Some(found) = by_label(packet) {
        counts.labelled += 1;
        found
    } else if let Some(found) = by_mark(skb) {
        counts.by_mark += 1;
        found
    } else {
        counts.unlabelled += 1;
        return;
    };
    apply(skb, packet, action, counts);
    // SAFETY: the context of the running program; tc programs may write the priority.
    let len = unsafe {
        (*skb.raw()).priority = action.priority;
        (*skb.raw()).len
    };
    policy::count(class, len);
}

/// The packet, if labels count and it can have one; else it is counted as left alone.
#[inline(always)]
fn packet(skb: &Skb, raw_ip: u32, counts: &mut Enforcement) -> Option<&'static Packet> {
    if !heartbeat::fresh() {
        counts.stale += 1;
        return None;
    }
    let Scratch { packet, .. } = scratch::this_cpu()?;
    if skb.parse(packet, raw_ip) != PARSED {
        counts.unlabelled += 1;
        return None;
    }
    Some(packet)
}

#[inline(always)]
fn by_label(packet: &Packet) -> Option<(u8, &'static ClassAction)> {
    let class = policy::class_of(labels::get(&packet.key)?)?;
    Some((class, policy::action(class)?))
}

#[inline(always)]
fn by_mark(skb: &Skb) -> Option<(u8, &'static ClassAction)> {
    let mask = settings::mark_mask();
    // SAFETY: the context of the running program is valid for reading.
    let mark = unsafe { (*skb.raw()).mark } & mask;
    if mark == 0 {
        return None;
    }
    let class = (mark >> mask.trailing_zeros()) as u8;
    // Somebody else's bits, or a class that the policy does nothing with, are left alone.
    let action = policy::action(class).filter(|action| action.mark & mask == mark)?;
    Some((class, action))
}

#[inline(always)]
fn apply(skb: &Skb, packet: &Packet, action: &ClassAction, counts: &mut Enforcement) {
    let mask = settings::mark_mask();
    // SAFETY: the context of the running program; tc programs may write the mark.
    unsafe { (*skb.raw()).mark = ((*skb.raw()).mark & !mask) | (action.mark & mask) };
    if action.dscp != packet.dscp
        && ExistingDscp::writes(action.existing_dscp, packet.dscp)
        && dscp::write(skb, packet, action.dscp)
    {
        counts.remarked += 1;
    }
}
