//! Every bound that kernel and host share.

/// 802.1Q and 802.1ad tags that the parser walks through.
pub const MAX_VLAN_TAGS: usize = 4;

/// MPLS labels that the parser walks through.
pub const MAX_MPLS_LABELS: usize = 4;

/// IPv6 extension headers that the parser walks through.
pub const MAX_EXTENSION_HEADERS: usize = 8;

/// Packets of a flow that make its sequence (Lopez-Martin et al. 2017, section IV-C).
pub const SEQUENCE_LENGTH: usize = 20;

/// Live flows that the kernel's table holds unless configured otherwise.
pub const DEFAULT_MAX_FLOWS: u32 = 65_536;

/// Places in each set of the flow table.
pub const FLOW_WAYS: usize = 7;

/// Bytes of the record ring unless configured otherwise; a power of two of pages.
pub const DEFAULT_RING_BYTES: u32 = 4 << 20;

/// Service ids that a policy can address: ids of `models/services.csv` are below it.
pub const MAX_SERVICES: u32 = 4096;

/// Classes that a policy can address, 0 (unknown) among them.
pub const MAX_CLASSES: u32 = 16;

/// Rules that a policy may have: each packet without a match looks at all of them.
pub const MAX_RULES: u32 = 32;

/// Bytes of a class's name.
pub const CLASS_NAME_BYTES: usize = 16;

/// Bytes of a policy's text, so that with its length it fills 64 KiB.
pub const MAX_POLICY_TEXT: usize = 65_532;

/// Interfaces that are captured or enforced on at the same time, stacked devices among them.
pub const MAX_INTERFACES: u32 = 256;
