//! The parser, and what takes super-packets apart, as global functions: the verifier looks at each once for any
//! arguments, and knows of its result no more than its type. Inlined, or as functions of the object alone, they would
//! multiply: whatever comes behind them would be verified for each of their ways out, and before Linux 6.5 it cannot
//! forget values that came from such a function, so that hardly two ways are alike.

use aya_ebpf::bindings::{__sk_buff, xdp_md};
use ntc_common::{
    link::LinkType,
    offload::{Offload, Split},
    packet::Packet,
    parse::parse,
    source::PacketSource,
};

use crate::source::{Skb, XdpBytes};

/// No [`ParseError`](ntc_common::error::ParseError).
pub const PARSED: u32 = u32::MAX;

/// A hook's way to its parser.
pub trait Parse {
    /// Reads the headers into `packet`; the parser's error as a number, or [`PARSED`]. `raw_ip`: not 0 where packets
    /// begin with the IP header.
    fn parse(&self, packet: &mut Packet, raw_ip: u32) -> u32;
}

impl Parse for Skb {
    #[inline(always)]
    fn parse(&self, packet: &mut Packet, raw_ip: u32) -> u32 {
        ntc_parse_skb(self.raw(), packet, raw_ip)
    }
}

impl Parse for XdpBytes {
    #[inline(always)]
    fn parse(&self, packet: &mut Packet, _: u32) -> u32 {
        ntc_parse_xdp(self.raw(), packet)
    }
}

/// [`Offload::split`] of a parsed packet; [`Split`] as a number.
#[inline(always)]
pub fn split(offload: &Offload, packet: &mut Packet) -> u32 {
    ntc_split(packet, offload.segments, offload.segment_len, offload.repeated_len)
}

/// At tc, with any link header or none.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn ntc_parse_skb(skb: *mut __sk_buff, packet: *mut Packet, raw_ip: u32) -> u32 {
    let link = if raw_ip != 0 { LinkType::RawIp } else { LinkType::Ethernet };
    parsed(&Skb::from_raw(skb), link, packet)
}

/// At XDP, where frames are Ethernet's.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn ntc_parse_xdp(ctx: *mut xdp_md, packet: *mut Packet) -> u32 {
    parsed(&XdpBytes::from_raw(ctx), LinkType::Ethernet, packet)
}

#[inline(always)]
fn parsed<S: PacketSource>(source: &S, link: LinkType, packet: *mut Packet) -> u32 {
    // SAFETY: the callers above hand in a reference, so that it is never null: the verifier asks, who takes a global
    // function's pointers for any.
    let Some(packet) = (unsafe { packet.as_mut() }) else { return PARSED };
    match parse(source, link, packet) {
        Ok(()) => PARSED,
        Err(error) => error as u32,
    }
}

/// [`split`] with scalars, which cost the verifier nothing.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn ntc_split(packet: *mut Packet, segments: u32, segment_len: u32, repeated_len: u32) -> u32 {
    // SAFETY: as in `parsed`.
    let Some(packet) = (unsafe { packet.as_mut() }) else { return Split::One as u32 };
    Offload { segments, segment_len, repeated_len }.split(packet) as u32
}
