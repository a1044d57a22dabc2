//! All that ntc's kernel programs and its user space must agree on.
//!
//! The same code runs in the XDP and tc programs and, compiled for the host, on capture files: what a
//! packet is, which flow it belongs to and which records it leaves is decided here and nowhere else.
//!
//! | module | holds | crosses the boundary as |
//! | --- | --- | --- |
//! | [`limits`] | every bound that both sides use | constants |
//! | [`source`] | [`PacketSource`](source::PacketSource): reading packet bytes by offset | - |
//! | [`link`] | link types, and the way from a link header to the network header | - |
//! | [`parse`] | the header parser | [`Packet`](packet::Packet), [`ParseError`](error::ParseError) |
//! | [`offload`] | super-packets (GSO, GRO) taken apart | - |
//! | [`key`] | [`FlowKey`](key::FlowKey), canonical 5-tuple | key of `LABELS`, 40 bytes |
//! | [`flow`] | flow state and the flow rule | in [`FlowSlot`](table::FlowSlot), 80 bytes |
//! | [`table`] | where a flow stands, and who gives way | values of `FLOW_SETS`, `FLOWS`, `FLOW_HASH` |
//! | [`record`] | one packet of a sequence, or the wire packets of a super-packet | ring buffer `PACKETS`, 80 bytes |
//! | [`ledger`] | one counter for each way a packet can go | value of `LEDGER` |
//! | [`label`] | the answer for a flow, and the heartbeat it hangs on | value of `LABELS`, 32 bytes |
//! | [`policy`] | what the kernel does with an answer | values of `POLICY`, `POLICY_TEXT` |
//! | [`rules`] | flows that have a class whatever the model says | in [`PolicyTable`](policy::PolicyTable) |
//! | [`witness`] | which program ran on which interface | values of `WITNESS` |
//! | [`header`] | the C header for other people's tc programs | text |
#![cfg_attr(not(test), no_std)]

#[macro_use]
mod shared;

pub mod error;
pub mod flow;
pub mod header;
pub mod key;
pub mod label;
pub mod ledger;
pub mod limits;
pub mod link;
pub mod offload;
pub mod packet;
pub mod parse;
pub mod policy;
pub mod record;
pub mod rules;
pub mod source;
pub mod table;
pub mod witness;

/// Version of every layout in this crate, and part of the pin path (`/sys/fs/bpf/ntc/v3`).
///
/// Any change to a shared struct, a map's meaning or a counter's place must raise it; the golden C header
/// in `docs/ntc.h` makes such a change visible.
pub const ABI_VERSION: u32 = 3;
