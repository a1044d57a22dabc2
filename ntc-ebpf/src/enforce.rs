//! What a rule, a label or a mark does to a packet: mark, code point, priority, or its end.
//!
//! Which of them counts, first to last:
//!
//! | hook | inside (captured) | outside (enforced only) |
//! | --- | --- | --- |
//! | ingress | rule, label | label |
//! | egress | rule, label, mark, default | mark, rule, label, default |
//!
//! Labels and rules speak of tuples as they are inside. Outside NAT has made others of them, and what was decided inside
//! came along in the mark; what comes in there waits for its inside tuple before rules are asked.

use ntc_common::{
    label::Label,
    packet::Packet,
    policy::{
        ClassAction, Enforcement, ExistingDscp, PolicyTable,
        interface_flags::INSIDE,
        policy_flags::{DRY_RUN, READS_MAC},
    },
    rules::mac,
    source::PacketSource as _,
};

use crate::{
    dscp, heartbeat, labels,
    parser::{self, PARSED, Parse as _},
    policy::{self, Wire},
    rules,
    scratch::{self, Scratch},
    shadow,
    source::{Metadata as _, Skb},
};

/// What is decided by: a packet, and the policy that counts for it.
struct Case {
    packet: &'static Packet,
    /// Which of the two.
    slot: u32,
    table: &'static PolicyTable,
}

/// At tc ingress: mark and code point. Not the priority: `ip_forward()` sets its own for IPv4. `true`: drop it.
#[inline(always)]
pub fn ingress(skb: &Skb, raw_ip: u32, flags: u32) -> bool {
    let Some(counts) = policy::this_cpu() else { return false };
    let (case, packets) = begin(skb, raw_ip, counts);
    counts.ingress += packets;
    let Some(case) = case else { return false };
    let ruled = if flags & INSIDE != 0 { by_rule(skb, raw_ip, &case) } else { None };
    let class = match ruled {
        Some(class) => class,
        None => labels::get(&case.packet.key).map_or(0, |label| case.table.by_label(label)),
    };
    if shadow::counted() && flags & INSIDE != 0 {
        shadow::count(case.slot, class, macs(skb, raw_ip), false, wire(skb, case.packet, packets));
    }
    if class == 0 {
        counts.unlabelled += packets;
        return false;
    }
    if ruled.is_some() {
        counts.by_rule += packets;
    } else {
        counts.labelled += packets;
    }
    apply(skb, &case, case.table.action(class), packets, counts)
}

/// At tc egress: priority as well. `true`: drop it.
#[inline(always)]
pub fn egress(skb: &Skb, raw_ip: u32, flags: u32) -> bool {
    let Some(counts) = policy::this_cpu() else { return false };
    let (case, packets) = begin(skb, raw_ip, counts);
    counts.egress += packets;
    let Some(case) = case else { return false };
    let wire = wire(skb, case.packet, packets);
    let class = class_at_egress(skb, raw_ip, flags, &case, wire, counts);
    if shadow::counted() && flags & INSIDE != 0 {
        shadow::count(case.slot, class, macs(skb, raw_ip), true, wire);
    }
    if class == 0 {
        counts.unlabelled += packets;
        return false;
    }
    let action = case.table.action(class);
    policy::count_class(class, wire);
    if apply(skb, &case, action, packets, counts) {
        return true;
    }
    if action.priority != 0 && case.table.flags & DRY_RUN == 0 {
        // SAFETY: the context of the running program; tc programs may write the priority.
        unsafe { (*skb.raw()).priority = action.priority };
    }
    false
}

/// 0: left alone.
#[inline(always)]
fn class_at_egress(
    skb: &Skb,
    raw_ip: u32,
    flags: u32,
    case: &Case,
    wire: Wire,
    counts: &mut Enforcement,
) -> u8 {
    let Case { packet, slot, table } = *case;
    // SAFETY: the context of the running program is valid for reading.
    let mark = unsafe { (*skb.raw()).mark };
    if flags & INSIDE == 0 && mark & table.mark_mask != 0 {
        let class = rules::class_by_mark(slot, mark);
        if class != 0 {
            counts.by_mark += wire.packets;
            return class;
        }
    }
    if let Some(class) = by_rule(skb, raw_ip, case) {
        if class != 0 {
            counts.by_rule += wire.packets;
        }
        return class;
    }
    let label: Option<&Label> = labels::get(&packet.key);
    if let Some(label) = label {
        policy::count_service(label.service, wire);
        let class = table.by_label(label);
        if class != 0 {
            counts.labelled += wire.packets;
            return class;
        }
    }
    if flags & INSIDE != 0 && mark & table.mark_mask != 0 {
        let class = rules::class_by_mark(slot, mark);
        if class != 0 {
            counts.by_mark += wire.packets;
            return class;
        }
    }
    let class = table.by_default(label);
    if class != 0 {
        counts.by_default += wire.packets;
    }
    class
}

/// The packet, if labels count and it can have a class, else it is counted as left alone; and how many it is on the wire.
#[inline(always)]
fn begin(skb: &Skb, raw_ip: u32, counts: &mut Enforcement) -> (Option<Case>, u64) {
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
    let Some(slot) = policy::slot() else { return (None, packets) };
    let Some(table) = policy::table(slot) else { return (None, packets) };
    (Some(Case { packet, slot, table }), packets)
}

/// Wire packets by the kernel's count alone.
#[inline(always)]
fn counted(skb: &Skb) -> u64 {
    match skb.offload() {
        Some(offload) => offload.segments.max(1).into(),
        None => 1,
    }
}

/// What a buffer is on the wire.
#[inline(always)]
fn wire(skb: &Skb, packet: &Packet, packets: u64) -> Wire {
    // SAFETY: the context of the running program is valid for reading.
    let len = unsafe { (*skb.raw()).len };
    // One packet's length is the buffer's: Ethernet pads.
    Wire { packets, bytes: if packets == 1 { len.into() } else { packet.wire_bytes_with_link() } }
}

#[inline(always)]
fn by_rule(skb: &Skb, raw_ip: u32, case: &Case) -> Option<u8> {
    if case.table.rule_count == 0 {
        return None;
    }
    let macs = if case.table.flags & READS_MAC != 0 { macs(skb, raw_ip) } else { [0; 2] };
    rules::class_by_rule(case.slot, macs)
}

/// Hardware addresses, destination first; 0 where there are none.
#[inline(always)]
fn macs(skb: &Skb, raw_ip: u32) -> [u64; 2] {
    // One by one, so that both are aligned.
    if raw_ip == 0
        && let (Some(to), Some(from)) = (skb.read::<[u8; 6]>(0), skb.read::<[u8; 6]>(6))
    {
        return [mac(to), mac(from)];
    }
    [0; 2]
}

#[inline(always)]
fn apply(skb: &Skb, case: &Case, action: &ClassAction, packets: u64, counts: &mut Enforcement) -> bool {
    let Case { packet, table, .. } = *case;
    if action.drop != 0 {
        counts.dropped += packets;
        return table.flags & DRY_RUN == 0;
    }
    let writes = action.dscp != packet.dscp && ExistingDscp::writes(action.existing_dscp, packet.dscp);
    if table.flags & DRY_RUN != 0 {
        counts.remarked += if writes { packets } else { 0 };
        return false;
    }
    let mask = table.mark_mask;
    // SAFETY: the context of the running program; tc programs may write the mark.
    unsafe { (*skb.raw()).mark = ((*skb.raw()).mark & !mask) | (action.mark & mask) };
    if writes && dscp::write(skb, packet, action.dscp) {
        counts.remarked += packets;
    }
    false
}
