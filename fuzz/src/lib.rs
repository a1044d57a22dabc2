//! What must hold for hostile input, whoever makes it up.
//!
//! Each module has one function `run` that takes the bytes of one input and panics where a promise is broken. The fuzz
//! targets (`cargo xtask fuzz`) and the replay of all findings (`tests/tests/regressions.rs`) both call it.
//!
//! | target | input | who can send it |
//! | --- | --- | --- |
//! | [`parser`] | link type, length on the wire, frame | whoever sends packets |
//! | [`capture`] | a capture file | whoever wrote the file |
//! | [`records`] | records of the kernel's ring, and time | the kernel programs, if they had a fault |
//! | [`policy`] | a policy, a bundle's manifest, a catalogue | whoever configures the agent |
//! | [`query`] | a query string, a 5-tuple, a policy, as the agent's API is sent them | whoever may ask the agent |
//! | [`flow_rule`] | packets of one flow, and time | whoever sends packets |

pub mod capture;
pub mod flow_rule;
pub mod parser;
pub mod policy;
pub mod query;
pub mod records;

/// A target: the bytes of one input in, a panic where a promise is broken.
pub type Target = fn(&[u8]);

/// All targets by name, which is also that of their folders of seeds and regressions.
pub const TARGETS: [(&str, Target); 6] = [
    ("capture", capture::run),
    ("flow_rule", flow_rule::run),
    ("parser", parser::run),
    ("policy", policy::run),
    ("query", query::run),
    ("records", records::run),
];
