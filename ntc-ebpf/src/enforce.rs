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
    link::LinkType,
    packet::Packet,
    parse::parse,
    policy::{
        ClassAction, Enforcement, ExistingDscp, PolicyTable,
        interface_flags::INSIDE,
        policy_flags::{DRY_RUN, READS_MAC},
    },
    rules::mac,
    source::PacketSource as _,
};

use crate::{
    dscp, heartbeat, labels, policy, rules,
    scratch::{self, Scratch},
    source::Skb,
};

/// At tc ingress: mark and code point. Not the priority: `ip_forward()` sets its own for IPv4. `true`: drop it.
#[inline(always)]
pub fn ingress(skb: &Skb, link: LinkType, flags: u32) -> bool {
    let Some(counts) = policy::this_cpu() else { return false };
    counts.ingress += 1;
    let Some((slot, table, packet)) = begin(skb, link, counts) else { return false };
    let class = match if flags & INSIDE != 0 { by_rule(skb, link, slot, table) } else { None } {
        Some(0) => {
            counts.unlabelled += 1;
            return false;
        }
        Some(class) => {
            counts.by_rule += 1;
            class
        }
        None => match labels::get(&packet.key).map_or(0, |label| table.by_label(label)) {
            0 => {
                counts.unlabelled += 1;
                return false;
            }
            class => {
                counts.labelled += 1;
                class
            }
        },
    };
    apply(skb, packet, table, table.action(class), counts)
}

/// At tc egress: priority as well. `true`: drop it.
#[inline(always)]
pub fn egress(skb: &Skb, link: LinkType, flags: u32) -> bool {
    let Some(counts) = policy::this_cpu() else { return false };
    counts.egress += 1;
    let Some((slot, table, packet)) = begin(skb, link, counts) else { return false };
    let Some(class) = class_at_egress(skb, link, flags, (slot, table), packet, counts) else {
        counts.unlabelled += 1;
        return false;
    };
    let action = table.action(class);
    policy::count_class(class, skb);
    if apply(skb, packet, table, action, counts) {
        return true;
    }
    if action.priority != 0 && table.flags & DRY_RUN == 0 {
        // SAFETY: the context of the running program; tc programs may write the priority.
        unsafe { (*skb.raw()).priority = action.priority };
    }
    false
}

#[inline(always)]
fn class_at_egress(
    skb: &Skb,
    link: LinkType,
    flags: u32,
    (slot, table): (u32, &PolicyTable),
    packet: &Packet,
    counts: &mut Enforcement,
) -> Option<u8> {
    // SAFETY: the context of the running program is valid for reading.
    let mark = unsafe { (*skb.raw()).mark };
    // Most packets carry none.
    let marked = if mark & table.mark_mask == 0 { 0 } else { rules::class_by_mark(slot, mark) };
    if marked != 0 && flags & INSIDE == 0 {
        counts.by_mark += 1;
        return Some(marked);
    }
    if let Some(class) = by_rule(skb, link, slot, table) {
        if class == 0 {
            return None;
        }
        counts.by_rule += 1;
        return Some(class);
    }
    let label: Option<&Label> = labels::get(&packet.key);
    if let Some(label) = label {
        policy::count_service(label.service, skb);
        let class = table.by_label(label);
        if class != 0 {
            counts.labelled += 1;
            return Some(class);
        }
    }
    if marked != 0 {
        counts.by_mark += 1;
        return Some(marked);
    }
    let class = match label {
        None => table.unlabelled,
        Some(label) if table.class_of(label.acts_as, label.acts_confidence).is_none() => table.unknown,
        // Sure, and the policy leaves this service alone.
        Some(_) => 0,
    };
    if class == 0 {
        return None;
    }
    counts.by_default += 1;
    Some(class)
}

/// The policy and the packet, if labels count and it can have a class; else it is counted as left alone.
#[inline(always)]
fn begin(
    skb: &Skb,
    link: LinkType,
    counts: &mut Enforcement,
) -> Option<(u32, &'static PolicyTable, &'static Packet)> {
    if !heartbeat::fresh() {
        counts.stale += 1;
        return None;
    }
    let Scratch { packet, .. } = scratch::this_cpu()?;
    if parse(skb, link, packet).is_err() {
        counts.unlabelled += 1;
        return None;
    }
    let slot = policy::slot()?;
    Some((slot, policy::table(slot)?, packet))
}

#[inline(always)]
fn by_rule(skb: &Skb, link: LinkType, slot: u32, table: &PolicyTable) -> Option<u8> {
    if table.rule_count == 0 {
        return None;
    }
    let mut macs = [0; 2];
    if table.flags & READS_MAC != 0
        && matches!(link, LinkType::Ethernet)
        && let Some([to, from]) = skb.read::<[[u8; 6]; 2]>(0)
    {
        macs = [mac(to), mac(from)];
    }
    rules::class_by_rule(slot, macs)
}

#[inline(always)]
fn apply(
    skb: &Skb,
    packet: &Packet,
    table: &PolicyTable,
    action: &ClassAction,
    counts: &mut Enforcement,
) -> bool {
    if action.drop != 0 {
        counts.dropped += 1;
        return table.flags & DRY_RUN == 0;
    }
    let writes = action.dscp != packet.dscp && ExistingDscp::writes(action.existing_dscp, packet.dscp);
    if table.flags & DRY_RUN != 0 {
        counts.remarked += u64::from(writes);
        return false;
    }
    let mask = table.mark_mask;
    // SAFETY: the context of the running program; tc programs may write the mark.
    unsafe { (*skb.raw()).mark = ((*skb.raw()).mark & !mask) | (action.mark & mask) };
    if writes && dscp::write(skb, packet, action.dscp) {
        counts.remarked += 1;
    }
    false
}
