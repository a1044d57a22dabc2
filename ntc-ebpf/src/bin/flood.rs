//! Sources of floods, for `cargo xtask flood` and `soak`: never part of the object that ships.
//!
//! Run by `BPF_PROG_TEST_RUN` with live frames: the kernel calls a program for one frame after the other and sends
//! it out of the interface that the program names. Frames come back from their way through the network as that left
//! them, so each time the whole frame is written anew from the template, and then what differs from frame to frame.
#![no_std]
#![no_main]
#![expect(missing_docs, reason = "the program macros make functions without the docs they were given")]

use aya_ebpf::{
    Global,
    bindings::xdp_action::{XDP_ABORTED, XDP_PASS},
    helpers::{bpf_get_smp_processor_id, bpf_redirect},
    macros::{map, xdp},
    maps::{Array, PerCpuArray},
    programs::XdpContext,
};

/// Words of 8 bytes in a template: as long as the longest frame.
const TEMPLATE_WORDS: usize = 20;
/// Bytes of an IPv4 frame.
const SHORT: usize = 64;
/// Bytes of an IPv6 frame.
const LONG: usize = TEMPLATE_WORDS * 8;

/// Offsets in the frame.
const IPV4: usize = 14;
const TRANSPORT: usize = IPV4 + 20;
const IPV6: usize = 14;
const CHAIN: usize = IPV6 + 40;
/// Places of 8 bytes for extension headers and what follows them.
const PLACES: usize = (LONG - CHAIN) / 8;

/// Where frames leave.
#[unsafe(no_mangle)]
static IFINDEX: Global<u32> = Global::new(0);

/// The frame as it is before the parts that differ are written: addresses, ports, TTL.
#[map]
static TEMPLATE: Array<[u64; TEMPLATE_WORDS]> = Array::with_max_entries(1, 0);

/// Frames made, by processor: what is offered, and the state of the dice.
#[map]
static MADE: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// Does nothing: what a machine without ntc is given in its place, so that packets take the same way through it.
#[xdp(frags)]
pub fn pass(_ctx: XdpContext) -> u32 {
    XDP_PASS
}

/// SYN from a random sender and port, to the template's receiver and port. Its checksums are right: an open port
/// answers.
#[xdp]
pub fn flood_syn(ctx: XdpContext) -> u32 {
    make::<SHORT>(&ctx, |frame, dice| {
        frame.private_sender(dice.take(24));
        frame.put(TRANSPORT, dice.take(16) as u16);
        frame.put(TRANSPORT + 4, dice.take(8) as u16);
        frame.put(TRANSPORT + 6, dice.take(16) as u16);
        frame.seal_ipv4();
        frame.seal_tcp();
    })
}

/// UDP with random addresses and ports on both sides: receivers in 198.18.0.0/15, the net kept for benchmarks.
#[xdp]
pub fn flood_udp(ctx: XdpContext) -> u32 {
    make::<SHORT>(&ctx, |frame, dice| {
        frame.private_sender(dice.take(16));
        frame.put(IPV4 + 16, u16::to_be(0xc612 | dice.take(1) as u16));
        frame.put(IPV4 + 18, dice.take(15) as u16);
        frame.put(TRANSPORT, dice.take(16) as u16);
        frame.put(TRANSPORT + 2, dice.take(16) as u16);
        frame.seal_ipv4();
    })
}

/// Fragments of datagrams of which the rest never comes: one in four a first one, with ports.
#[xdp]
pub fn flood_fragments(ctx: XdpContext) -> u32 {
    make::<SHORT>(&ctx, |frame, dice| {
        frame.private_sender(dice.take(20));
        frame.put(IPV4 + 4, dice.take(16) as u16);
        let offset = if dice.take(2) == 0 { 0 } else { 1 + dice.take(12) as u16 };
        let more = if offset == 0 { 1 } else { dice.take(1) as u16 };
        frame.put(IPV4 + 6, u16::to_be((more << 13) | offset));
        frame.put(TRANSPORT, dice.take(12) as u16);
        frame.seal_ipv4();
    })
}

/// Lengths that lie, one a frame: IHL, total length, TCP offset, UDP length, each too small or too large.
#[xdp]
pub fn flood_bad_lengths(ctx: XdpContext) -> u32 {
    make::<SHORT>(&ctx, |frame, dice| {
        const TCP: u8 = 6;
        frame.private_sender(dice.take(24));
        frame.put(TRANSPORT, dice.take(16) as u16);
        let kind = dice.take(3);
        let any = dice.take(4) as u16;
        match kind {
            0 => frame.put_byte(IPV4, 0x40 | (any as u8 % 5)),
            1 => frame.put_byte(IPV4, 0x4f),
            2 => frame.put(IPV4 + 2, u16::to_be(any)),
            3 => frame.put(IPV4 + 2, u16::to_be(51 + (any << 8))),
            4 => frame.put(TRANSPORT + 4, u16::to_be(any & 7)),
            5 => frame.put(TRANSPORT + 4, u16::to_be(31 + (any << 8))),
            6 => {
                frame.put_byte(IPV4 + 9, TCP);
                frame.put_byte(TRANSPORT + 12, (any as u8 % 5) << 4);
            }
            _ => {
                frame.put_byte(IPV4 + 9, TCP);
                frame.put_byte(TRANSPORT + 12, 0xf0);
            }
        }
        frame.seal_ipv4();
    })
}

/// IPv6 with up to 15 extension headers before UDP: more than any parser follows, and some whose chain ends outside
/// of the packet.
#[xdp]
pub fn flood_ipv6_chains(ctx: XdpContext) -> u32 {
    make::<LONG>(&ctx, |frame, dice| {
        const UDP: u8 = 17;
        const DESTINATION_OPTIONS: u8 = 60;
        /// Next header is written over; 8 bytes long; one option of 4 bytes of padding.
        const PADDING: u64 = u64::from_be_bytes([0, 0, 1, 4, 0, 0, 0, 0]);
        frame.put(IPV6 + 8 + 12, dice.take(16) as u16);
        frame.put(IPV6 + 8 + 14, dice.take(16) as u16);
        let headers = dice.take(4) as usize;
        let ports = dice.take(20);
        // One in sixteen says of its first header that it is longer than the packet.
        let lie = dice.take(4) == 0;
        let next = |place| if place == headers { UDP } else { DESTINATION_OPTIONS };
        frame.put_byte(IPV6 + 6, next(0));
        // Each place is written whole, whatever it holds: offsets stay constants, as the verifier likes them.
        let mut place = 0;
        while place < PLACES {
            let word = if place < headers {
                let length = if lie && place == 0 { 0xff << 48 } else { 0 };
                PADDING | (u64::from(next(place + 1)) << 56) | length
            } else if place == headers {
                let length = (LONG - CHAIN - place * 8) as u64;
                (ports << 40) | (53 << 32) | (length << 16)
            } else {
                0
            };
            frame.put(CHAIN + place * 8, u16::to_be((word >> 48) as u16));
            frame.put(CHAIN + place * 8 + 2, u16::to_be((word >> 32) as u16));
            frame.put(CHAIN + place * 8 + 4, u16::to_be((word >> 16) as u16));
            frame.put(CHAIN + place * 8 + 6, u16::to_be(word as u16));
            place += 1;
        }
    })
}

/// Writes the template into the frame, then what `vary` writes, and sends it.
#[inline(always)]
fn make<const LEN: usize>(ctx: &XdpContext, vary: impl FnOnce(&Frame, &mut Dice)) -> u32 {
    let (Some(frame), Some(mut dice)) = (Frame::new::<LEN>(ctx), Dice::new()) else { return XDP_ABORTED };
    let Some(template) = TEMPLATE.get(0) else { return XDP_ABORTED };
    let mut word = 0;
    while word < LEN / 8 {
        // SAFETY: `Frame::new` has proved LEN bytes, the template has as many.
        unsafe { (frame.start as *mut u64).add(word).write_unaligned(*template.get_unchecked(word)) };
        word += 1;
    }
    vary(&frame, &mut dice);
    // SAFETY: no pointer is passed.
    unsafe { bpf_redirect(IFINDEX.load(), 0) as u32 }
}

/// A frame whose length is proved to the verifier; offsets are constants below it.
struct Frame {
    start: usize,
}

impl Frame {
    #[inline(always)]
    fn new<const LEN: usize>(ctx: &XdpContext) -> Option<Self> {
        let start = ctx.data();
        (start + LEN <= ctx.data_end()).then_some(Self { start })
    }

    #[inline(always)]
    fn put(&self, offset: usize, value: u16) {
        // SAFETY: the length is proved, and all offsets of 16-bit words are even.
        unsafe { ((self.start + offset) as *mut u16).write(value) }
    }

    #[inline(always)]
    fn put_byte(&self, offset: usize, value: u8) {
        // SAFETY: the length is proved.
        unsafe { ((self.start + offset) as *mut u8).write(value) }
    }

    #[inline(always)]
    fn word(&self, offset: usize) -> u32 {
        // SAFETY: as for `put`.
        u32::from(unsafe { ((self.start + offset) as *const u16).read() })
    }

    /// Sender in 10.0.0.0/8.
    #[inline(always)]
    fn private_sender(&self, host: u64) {
        self.put(IPV4 + 12, u16::to_be(0x0a00 | ((host >> 16) as u16 & 0xff)));
        self.put(IPV4 + 14, host as u16);
    }

    /// The header's checksum (RFC 1071), over 20 bytes.
    #[inline(always)]
    fn seal_ipv4(&self) {
        self.put(IPV4 + 10, 0);
        self.put(IPV4 + 10, folded(self.sum::<10>(IPV4)));
    }

    /// The checksum of a TCP header of 20 bytes without payload.
    #[inline(always)]
    fn seal_tcp(&self) {
        let pseudo_header = u32::from(u16::to_be(6)) + u32::from(u16::to_be(20));
        self.put(TRANSPORT + 16, 0);
        let addresses = self.sum::<4>(IPV4 + 12);
        self.put(TRANSPORT + 16, folded(pseudo_header + addresses + self.sum::<10>(TRANSPORT)));
    }

    #[inline(always)]
    fn sum<const WORDS: usize>(&self, offset: usize) -> u32 {
        let (mut sum, mut word) = (0, 0);
        while word < WORDS {
            sum += self.word(offset + 2 * word);
            word += 1;
        }
        sum
    }
}

#[inline(always)]
fn folded(sum: u32) -> u16 {
    let once = (sum & 0xffff) + (sum >> 16);
    !(((once & 0xffff) + (once >> 16)) as u16)
}

/// Bits that look random and never repeat as a whole: a counter, mixed (splitmix64).
struct Dice {
    bits: u64,
}

impl Dice {
    #[inline(always)]
    fn new() -> Option<Self> {
        let made = MADE.get_ptr_mut(0)?;
        // SAFETY: the slot is this processor's own, and a program is not interrupted by itself.
        let count = unsafe {
            *made += 1;
            *made
        };
        // SAFETY: no pointer is passed.
        let processor = u64::from(unsafe { bpf_get_smp_processor_id() });
        let mut bits = (count | (processor << 48)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Some(Self { bits: bits ^ (bits >> 31) })
    }

    /// That many bits; 64 there are.
    #[inline(always)]
    fn take(&mut self, count: u32) -> u64 {
        let taken = self.bits & ((1 << count) - 1);
        self.bits >>= count;
        taken
    }
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // Never reached: the verifier would refuse a program that could come here.
    loop {}
}
