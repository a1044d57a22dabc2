//! What a label does to a packet: mark, code point, priority.

use ntc_common::{
    packet::Packet,
    policy::{ClassAction, Enforcement, ExistingDscp},
};

use crate::{
    dscp, heartbeat, labels,
    parser::{self, PARSED, Parse as _},
    policy,
    scratch::{self, Scratch},
    settings,
    source::{Metadata as _, Skb},
};

/// At tc ingress: mark and code point. Not the priority: `ip_forward()` sets its own for IPv4.
#[inline(always)]
pub fn ingress(skb: &Skb, raw_ip: u32) {
    let Some(counts) = policy::this_cpu() else { return };
    let (packet, packets) = packet(skb, raw_ip, counts);
    counts.ingress += packets;
    let Some(packet) = packet else { return };
    match by_label(packet) {
        Some((_, action)) => {
            counts.labelled += packets;
            apply(skb, packet, action, packets, counts);
        }
        None => counts.unlabelled += packets,
    }
}

/// At tc egress: priority as well, from the label or, where NAT made it another tuple, from the mark.
#[inline(always)]
pub fn egress(skb: &Skb, raw_ip: u32) {
    let Some(counts) = policy::this_cpu() else { return };
    let (packet, packets) = packet(skb, raw_ip, counts);
    counts.egress += packets;
    let Some(packet) = packet else { return };
    let (class, action) = if let Some(found) = by_label(packet) {
        counts.labelled += packets;
        found
    } else if let Some(found) = by_mark(skb) {
        counts.by_mark += packets;
        found
    } else {
        counts.unlabelled += packets;
        return;
    };
    apply(skb, packet, action, packets, counts);
    // SAFETY: the context of the running program; tc programs may write the priority.
    let len = unsafe {
        (*skb.raw()).priority = action.priority;
        (*skb.raw()).len
    };
    // One packet's length is the buffer's: Ethernet pads.
    let bytes = if packets == 1 { len.into() } else { packet.wire_bytes_with_link() };
    policy::count(class, packets, bytes);
}

/// The packet, if labels count and it can have one, else it is counted as left alone; and how many it is on the wire.
#[inline(always)]
fn packet(skb: &Skb, raw_ip: u32, counts: &mut Enforcement) -> (Option<&'static Packet>, u64) {
    if !heartbeat::fresh() {
        let packets = counted(skb);
        counts.stale += packets;
        return (None, packets);
    }
    let Some(Scratch { packet, .. }) = scratch::this_cpu() else { return (None, 0) };
    if skb.parse(packet, raw_ip) != PARSED {
        let packets = counted(skb);
        counts.unlabelled += packets;
        return (None, packets);
    }
    if let Some(offload) = skb.offload() {
        parser::split(&offload, packet);
    }
    let packets = u64::from(packet.segments);
    (Some(packet), packets)
}

/// Wire packets by the kernel's count alone.
#[inline(always)]
fn counted(skb: &Skb) -> u64 {
    match skb.offload() {
        Some(offload) => offload.segments.max(1).into(),
        None => 1,
    }
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
fn apply(skb: &Skb, packet: &Packet, action: &ClassAction, packets: u64, counts: &mut Enforcement) {
    let mask = settings::mark_mask();
    // SAFETY: the context of the running program; tc programs may write the mark.
    unsafe { (*skb.raw()).mark = ((*skb.raw()).mark & !mask) | (action.mark & mask) };
    if action.dscp != packet.dscp
        && ExistingDscp::writes(action.existing_dscp, packet.dscp)
        && dscp::write(skb, packet, action.dscp)
    {
        counts.remarked += packets;
    }
}
