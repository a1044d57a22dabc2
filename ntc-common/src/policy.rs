//! What the kernel does with an answer.

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
    /// What a service is to the policy: value of the array `SERVICES`, by service id.
    pub struct ServiceAction: 4 {
        /// Labels below this confidence (1/65535) are treated as unknown.
        pub min_confidence: u16,
        /// Index into `CLASSES`; 0: leave alone.
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
    /// What is done with the packets of a class: value of the array `CLASSES`.
    pub struct ClassAction: 12 {
        /// `skb->priority` at tc egress: qdisc class (major in the upper half) or CAKE tin.
        pub priority: u32,
        /// Value of `skb->mark` under [`MARK_MASK_DEFAULT`] or the configured mask.
        pub mark: u32,
        /// Code point to write (RFC 2474).
        pub dscp: u8,
        /// [`ExistingDscp`] as a number: what to do where one is already set.
        pub existing_dscp: u8,
        /// Always 0.
        pub reserved: [u8; 2],
    }
}

shared_struct! {
    /// Per-CPU counts of what enforcement did for a class: value of `CLASS_COUNTERS`. As in the ledger, a super-packet
    /// (GSO, GRO) counts as the packets that it is on the wire.
    pub struct ClassCounter: 16 {
        /// Packets that left by tc egress in this class.
        pub packets: u64,
        /// Their bytes, link headers included.
        pub bytes: u64,
    }
}

shared_struct! {
    /// Per-CPU counts of the enforcement programs, of wire packets: value of `ENFORCEMENT`.
    pub struct Enforcement: 56 {
        /// Packets that reached tc ingress.
        pub ingress: u64,
        /// Packets that reached tc egress.
        pub egress: u64,
        /// Of both: left alone because the heartbeat was stale.
        pub stale: u64,
        /// Of both: no label, none that the policy names, or too little confidence.
        pub unlabelled: u64,
        /// Of both: the label's class was applied.
        pub labelled: u64,
        /// At egress: the class came from the mark, as behind NAT.
        pub by_mark: u64,
        /// Of both: a code point was written.
        pub remarked: u64,
    }
}

impl Enforcement {
    /// Nothing counted yet.
    pub const ZERO: Self =
        Self { ingress: 0, egress: 0, stale: 0, unlabelled: 0, labelled: 0, by_mark: 0, remarked: 0 };

    /// Adds another CPU's counts.
    pub const fn add(&mut self, other: &Self) {
        self.ingress += other.ingress;
        self.egress += other.egress;
        self.stale += other.stale;
        self.unlabelled += other.unlabelled;
        self.labelled += other.labelled;
        self.by_mark += other.by_mark;
        self.remarked += other.remarked;
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
}
