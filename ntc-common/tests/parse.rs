//! The header parser on packets of every kind that it reads, and of every kind that it refuses.

mod packets;

#[path = "parse/errors.rs"]
mod errors;
#[path = "parse/invariants.rs"]
mod invariants;
#[path = "parse/ip.rs"]
mod ip;
#[path = "parse/key.rs"]
mod key;
#[path = "parse/link.rs"]
mod link;
#[path = "parse/properties.rs"]
mod properties;
#[path = "parse/transport.rs"]
mod transport;
