//! What the kernel does with an answer: the policy as tc reads it, and the decisions that tc and `ntc policy show` make
//! by the same code.

use crate::{
    label::Label,
    limits::{CLASS_NAME_BYTES, MAX_CLASSES, MAX_POLICY_TEXT, MAX_RULES, MAX_SERVICES},
    rules::{Ends, Rule},
};

/// QoS classes by number, as `models/services.csv` and policies name them.
pub const CLASS_NAMES: [&str; 11] = [
    "unknown",
    "management",
    "web",
    "realtime",
    "streaming",
    "interactive",
    "bulk",
    "mail",
    "industrial",
    "rpc",
    "tunnel",
];

shared_struct! {
    /// What a service is to the policy: by service id in [`PolicyTable`].
    pub struct ServiceAction: 4 {
        /// Labels below this confidence (1/65535) are treated as unsure.
        pub min_confidence: u16,
        /// Index into the classes; 0: leave alone.
        pub class: u8,
        /// Always 0.
        pub reserved: u8,
    }
}

impl ServiceAction {
    /// The service is left alone.
    pub const NONE: Self = Self { min_confidence: 0, class: 0, reserved: 0 };
}

shared_struct! {
    /// What is done with the packets of a class: by number in [`PolicyTable`].
    pub struct ClassAction: 16 {
        /// `skb->priority` at tc egress: qdisc class (major in the upper half) or CAKE tin; 0: left as it is.
        pub priority: u32,
        /// Value of `skb->mark` under [`MARK_MASK_DEFAULT`] or the configured mask.
        pub mark: u32,
        /// A flow that is in another class comes here only with so much confidence (1/65535) above the least.
        pub hysteresis: u16,
        /// Code point to write (RFC 2474).
        pub dscp: u8,
        /// [`ExistingDscp`] as a number: what to do where one is already set.
        pub existing_dscp: u8,
        /// 1: its packets are dropped.
        pub drop: u8,
        /// Always 0.
        pub reserved: [u8; 3],
    }
}

impl ClassAction {
    /// A class that nothing is done with.
    pub const NONE: Self = Self {
        priority: 0,
        mark: 0,
        hysteresis: 0,
        dscp: 0,
        existing_dscp: ExistingDscp::Never as u8,
        drop: 0,
        reserved: [0; 3],
    };
}

shared_struct! {
    /// A whole policy: value of the array `POLICY`, which holds two. `POLICY_ACTIVE` tells which one counts: a program
    /// reads that word once and then knows no other policy.
    pub struct PolicyTable: 18448 {
        /// By service id.
        pub services: [ServiceAction; MAX_SERVICES as usize],
        /// By class number.
        pub classes: [ClassAction; MAX_CLASSES as usize],
        /// The operator's rules, the first that matches counts.
        pub rules: [Rule; MAX_RULES as usize],
        /// Names of the classes, filled up with 0.
        pub names: [[u8; CLASS_NAME_BYTES]; MAX_CLASSES as usize],
        /// Rules that there are.
        pub rule_count: u32,
        /// [`policy_flags`].
        pub flags: u32,
        /// The bits of `skb->mark` that are ntc's.
        pub mark_mask: u32,
        /// Class at egress of packets that have no label, no rule and no mark; 0: leave alone.
        pub unlabelled: u8,
        /// Class at egress of those whose label is unknown or unsure; 0: leave alone.
        pub unknown: u8,
        /// A flow's class changes so often at most, the first one counted.
        pub max_changes: u8,
        /// Always 0.
        pub reserved: u8,
    }
}

/// Bits of [`PolicyTable::flags`].
pub mod policy_flags {
    /// Count what would be done, and leave all packets alone.
    pub const DRY_RUN: u32 = 1;
    /// A rule asks for a hardware address.
    pub const READS_MAC: u32 = 2;
}

/// Bits of `SHADOW`, the loader's word to the programs: whether they count what another policy or another model would
/// have done (`SHADOW_COUNTERS`), by the labels in `SHADOW_LABELS`.
pub mod shadow_flags {
    /// They do.
    pub const COUNTED: u32 = 1;
    /// They go by `SHADOW_POLICY`, not by the policy that counts.
    pub const OWN_POLICY: u32 = 2;
}

/// Place in `SHADOW_COUNTERS` of packets that had one class and would have had another.
#[inline(always)]
pub const fn shadow_cell(class: u8, would: u8) -> u32 {
    (class as u32 & CLASS_MASK as u32) * MAX_CLASSES + (would as u32 & CLASS_MASK as u32)
}

// Ids and numbers are below these bounds wherever they come from. A mask shows the verifier what a comparison, done on
// another register, does not.
const SERVICE_MASK: usize = MAX_SERVICES as usize - 1;
const CLASS_MASK: usize = MAX_CLASSES as usize - 1;
const _: () = assert!(MAX_SERVICES.is_power_of_two() && MAX_CLASSES.is_power_of_two());

impl PolicyTable {
    /// The policy that leaves all packets alone.
    pub const IDLE: Self = Self {
        services: [ServiceAction::NONE; MAX_SERVICES as usize],
        classes: [ClassAction::NONE; MAX_CLASSES as usize],
        rules: [Rule::NONE; MAX_RULES as usize],
        names: [[0; CLASS_NAME_BYTES]; MAX_CLASSES as usize],
        rule_count: 0,
        flags: 0,
        mark_mask: MARK_MASK_DEFAULT,
        unlabelled: 0,
        unknown: 0,
        max_changes: 0,
        reserved: 0,
    };

    /// The class of an answer of so much confidence; 0 where it is left alone, `None` where it is unsure.
    #[inline(always)]
    pub fn class_of(&self, service: u16, confidence: u16) -> Option<u8> {
        let action = &self.services[service as usize & SERVICE_MASK];
        if service == 0 || confidence < action.min_confidence { None } else { Some(action.class) }
    }

    /// The class that a label gives its packets; 0 where it gives none.
    #[inline(always)]
    pub fn by_label(&self, label: &Label) -> u8 {
        self.class_of(label.acts_as, label.acts_confidence).unwrap_or(0)
    }

    /// The class that the first matching rule gives, and that rule's place; `None` if none matches.
    #[inline(always)]
    pub fn by_rule(&self, ends: &Ends) -> Option<(usize, u8)> {
        let mut index = 0;
        while index < MAX_RULES as usize {
            if index as u32 >= self.rule_count {
                return None;
            }
            let rule = &self.rules[index];
            if rule.matches(ends) {
                return Some((index, rule.class));
            }
            index += 1;
        }
        None
    }

    /// The class whose mark this is, as `skb->mark` has it; 0 if it is no class's.
    #[inline(always)]
    pub fn by_mark(&self, mark: u32) -> u8 {
        let ours = mark & self.mark_mask;
        if ours == 0 {
            return 0;
        }
        let mut class = 1;
        while class < MAX_CLASSES as usize {
            if self.classes[class].mark == ours {
                return class as u8;
            }
            class += 1;
        }
        0
    }

    /// The class at egress of a packet that nothing else gave one; 0: left alone.
    #[inline(always)]
    pub fn by_default(&self, label: Option<&Label>) -> u8 {
        match label {
            None => self.unlabelled,
            Some(label) if self.class_of(label.acts_as, label.acts_confidence).is_none() => self.unknown,
            // Sure, and the policy leaves this service alone.
            Some(_) => 0,
        }
    }

    /// What is done with a class.
    #[inline(always)]
    pub fn action(&self, class: u8) -> &ClassAction {
        &self.classes[class as usize & CLASS_MASK]
    }
}

shared_struct! {
    /// The text of a policy: value of the array `POLICY_TEXT`, beside [`PolicyTable`]. No program reads it; whoever asks
    /// what counts gets what the operator wrote.
    pub struct PolicyText: 65536 {
        /// Bytes of text.
        pub length: u32,
        /// UTF-8, TOML.
        pub text: [u8; MAX_POLICY_TEXT],
    }
}

shared_struct! {
    /// Per-CPU counts of what left by tc egress: value of `CLASS_COUNTERS` by class, of `SERVICE_COUNTERS` by service id.
    /// As in the ledger, a super-packet (GSO, GRO) counts as the packets that it is on the wire.
    pub struct ClassCounter: 16 {
        /// Packets.
        pub packets: u64,
        /// Their bytes, link headers included.
        pub bytes: u64,
    }
}

shared_struct! {
    /// Per-CPU counts of the enforcement programs, of wire packets: value of `ENFORCEMENT`.
    pub struct Enforcement: 80 {
        /// Packets that reached tc ingress.
        pub ingress: u64,
        /// Packets that reached tc egress.
        pub egress: u64,
        /// Of both: left alone because the heartbeat was stale.
        pub stale: u64,
        /// Of both: left alone for want of a class: no rule, no label that gives one, no mark.
        pub unlabelled: u64,
        /// Of both: the label's class was applied.
        pub labelled: u64,
        /// At egress: the class came from the mark, as behind NAT.
        pub by_mark: u64,
        /// Of both: a code point was written.
        pub remarked: u64,
        /// Of both: the class came from one of the operator's rules.
        pub by_rule: u64,
        /// At egress: the class was the policy's default.
        pub by_default: u64,
        /// Of both: dropped, as the class says.
        pub dropped: u64,
    }
}

impl Enforcement {
    /// Nothing counted yet.
    pub const ZERO: Self = Self {
        ingress: 0,
        egress: 0,
        stale: 0,
        unlabelled: 0,
        labelled: 0,
        by_mark: 0,
        remarked: 0,
        by_rule: 0,
        by_default: 0,
        dropped: 0,
    };

    /// Adds another CPU's counts.
    pub const fn add(&mut self, other: &Self) {
        self.ingress += other.ingress;
        self.egress += other.egress;
        self.stale += other.stale;
        self.unlabelled += other.unlabelled;
        self.labelled += other.labelled;
        self.by_mark += other.by_mark;
        self.remarked += other.remarked;
        self.by_rule += other.by_rule;
        self.by_default += other.by_default;
        self.dropped += other.dropped;
    }
}

/// What to do with a packet that already carries a code point.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExistingDscp {
    /// Write none, whatever is there.
    Never = 0,
    /// Write only where there is none (default forwarding).
    IfZero = 1,
    /// Write in any case.
    Override = 2,
}

impl ExistingDscp {
    /// Whether a packet that carries `current` is to be rewritten.
    #[inline(always)]
    pub const fn writes(number: u8, current: u8) -> bool {
        number == Self::Override as u8 || (number == Self::IfZero as u8 && current == 0)
    }
}

/// Bits of `skb->mark` that are ntc's unless configured otherwise; the others are left alone.
pub const MARK_MASK_DEFAULT: u32 = 0x00ff_0000;

/// The mark that tells class `class` under `mask`: the class number in the mask's lowest bits.
#[inline(always)]
pub const fn mark_of(class: u8, mask: u32) -> u32 {
    if mask == 0 { 0 } else { ((class as u32) << mask.trailing_zeros()) & mask }
}

/// Bits of `INTERFACES`, by interface index.
pub mod interface_flags {
    /// Packets that come in here are accounted here.
    pub const CAPTURED: u32 = 1;
    /// Packets begin with the IP header: tun, WireGuard, PPP.
    pub const NO_LINK_HEADER: u32 = 2;
    /// Labels act on packets here.
    pub const ENFORCED: u32 = 4;
    /// XDP is not to be had here: packets are accounted at tc ingress.
    pub const CAPTURED_AT_TC: u32 = 8;
    /// What comes in here was accounted on a device below: a captured port of this bridge, the card of this VLAN.
    pub const CAPTURED_BELOW: u32 = 16;
    /// Packets have the tuples that labels and rules speak of. Elsewhere, beyond NAT, the mark knows better.
    pub const INSIDE: u32 = CAPTURED | CAPTURED_AT_TC | CAPTURED_BELOW;
}
