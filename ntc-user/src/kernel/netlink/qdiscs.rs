//! Root qdiscs and HTB's classes, by netlink.

use std::io;

use super::{attribute, change_with, dump, text, word};

/// Length of `struct tcmsg`.
const HEADER: usize = 20;
/// Parent of a root qdisc (`TC_H_ROOT`).
pub const ROOT: u32 = 0xffff_ffff;
/// Attributes, include/uapi/linux/rtnetlink.h and pkt_sched.h.
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_HTB_PARMS: u16 = 1;
const TCA_HTB_INIT: u16 = 2;
const TCA_HTB_RATE64: u16 = 6;
const TCA_HTB_CEIL64: u16 = 7;
const TCA_CAKE_BASE_RATE64: u16 = 2;
const TCA_CAKE_DIFFSERV_MODE: u16 = 3;
const TCA_CAKE_NAT: u16 = 11;
const TCA_CAKE_SPLIT_GSO: u16 = 17;
/// `CAKE_DIFFSERV_DIFFSERV4`.
const DIFFSERV4: u32 = 1;
/// `HTB_VER >> 16`, net/sched/sch_htb.c.
const HTB_VERSION: u32 = 3;
/// What HTB divides a rate by where a class names no quantum.
const RATE_TO_QUANTUM: u32 = 10;
/// `TC_LINKLAYER_ETHERNET`: the kernel computes times itself, and asks for no table of them.
const ETHERNET: u8 = 1;
/// A scheduler's tick is 64 ns (`PSCHED_SHIFT`).
const TICK_NS: u64 = 64;

/// A qdisc as it can be made again.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Qdisc {
    /// Its kind.
    pub kind: String,
    /// Its handle; 0 of one that the kernel chose.
    pub handle: u32,
    /// Its options, as the kernel tells them.
    pub options: Vec<u8>,
}

/// What an HTB class is to be like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HtbClass {
    /// Major number in the upper half.
    pub handle: u32,
    /// Above it.
    pub parent: u32,
    /// Bytes a second that it always has.
    pub rate: u64,
    /// Bytes a second that it has at most.
    pub ceil: u64,
    /// Who borrows first: 0 to 7.
    pub priority: u32,
    /// Bytes that may be sent at once.
    pub burst: u64,
}

/// The root qdisc of an interface.
///
/// # Errors
/// What the kernel said.
pub fn root(index: u32) -> io::Result<Option<Qdisc>> {
    let answers = dump(libc::RTM_GETQDISC, &message(index, 0, 0))?;
    Ok(answers.iter().find_map(|answer| {
        let (header, rest) = answer.split_at_checked(HEADER)?;
        let (of, handle, parent) = (word(&header[4..])?, word(&header[8..])?, word(&header[12..])?);
        let kind = attribute(rest, TCA_KIND).map(text)?;
        let options = attribute(rest, TCA_OPTIONS).unwrap_or_default().to_vec();
        (of == index && parent == ROOT).then_some(Qdisc { kind, handle, options })
    }))
}

/// Classes of an interface's qdiscs.
///
/// # Errors
/// What the kernel said.
pub fn classes(index: u32) -> io::Result<Vec<u32>> {
    let answers = dump(libc::RTM_GETTCLASS, &message(index, 0, 0))?;
    Ok(answers.iter().filter_map(|answer| word(answer.get(8..)?)).collect())
}

/// Puts a qdisc in its place, whatever is there.
///
/// # Errors
/// What the kernel said; `NotFound` where it has no such kind.
pub fn put(index: u32, parent: u32, qdisc: &Qdisc) -> io::Result<()> {
    let mut body = message(index, qdisc.handle, parent).to_vec();
    push(&mut body, TCA_KIND, &terminated(&qdisc.kind));
    if !qdisc.options.is_empty() {
        push(&mut body, TCA_OPTIONS, &qdisc.options);
    }
    change_with(libc::RTM_NEWQDISC, (libc::NLM_F_CREATE | libc::NLM_F_REPLACE) as u16, &body)
}

/// Takes the root qdisc away; the kernel's own comes back.
///
/// # Errors
/// What the kernel said.
pub fn remove_root(index: u32) -> io::Result<()> {
    change_with(libc::RTM_DELQDISC, 0, &message(index, 0, ROOT))
}

/// HTB as a root qdisc, with a class for what no other takes.
pub fn htb(handle: u32, default_minor: u16) -> Qdisc {
    let mut options = Vec::new();
    let words = [HTB_VERSION, RATE_TO_QUANTUM, u32::from(default_minor), 0, 0];
    push(&mut options, TCA_HTB_INIT, &words.map(u32::to_ne_bytes).concat());
    Qdisc { kind: "htb".into(), handle, options }
}

/// CAKE as a root qdisc: four tins, at so many bytes a second. Hosts share by their addresses behind NAT, and super-packets
/// are cut.
pub fn cake(handle: u32, rate: u64) -> Qdisc {
    let mut options = Vec::new();
    push(&mut options, TCA_CAKE_BASE_RATE64, &rate.to_ne_bytes());
    for (attribute, value) in
        [(TCA_CAKE_DIFFSERV_MODE, DIFFSERV4), (TCA_CAKE_NAT, 1), (TCA_CAKE_SPLIT_GSO, 1)]
    {
        push(&mut options, attribute, &value.to_ne_bytes());
    }
    Qdisc { kind: "cake".into(), handle, options }
}

/// First in, first out, with room for so many packets.
pub fn pfifo(packets: u32) -> Qdisc {
    Qdisc { kind: "pfifo".into(), handle: 0, options: packets.to_ne_bytes().to_vec() }
}

/// Adds a class to HTB.
///
/// # Errors
/// What the kernel said.
pub fn add_class(index: u32, class: &HtbClass) -> io::Result<()> {
    let ratespec = |rate: u64| {
        let mut spec = vec![0, ETHERNET, 0, 0, 0, 0, 0, 0];
        spec.extend_from_slice(&u32::try_from(rate).unwrap_or(u32::MAX).to_ne_bytes());
        spec
    };
    let ticks = |rate: u64| {
        let ns = u128::from(class.burst) * 1_000_000_000 / u128::from(rate.max(1));
        u32::try_from(ns / u128::from(TICK_NS)).unwrap_or(u32::MAX).max(1)
    };
    let quantum = (class.rate / u64::from(RATE_TO_QUANTUM)).clamp(1514, 60_000) as u32;
    let mut parameters = [ratespec(class.rate), ratespec(class.ceil)].concat();
    for word in [ticks(class.rate), ticks(class.ceil), quantum, 0, class.priority] {
        parameters.extend_from_slice(&word.to_ne_bytes());
    }
    let mut options = Vec::new();
    push(&mut options, TCA_HTB_PARMS, &parameters);
    for (attribute, rate) in [(TCA_HTB_RATE64, class.rate), (TCA_HTB_CEIL64, class.ceil)] {
        if rate > u64::from(u32::MAX) {
            push(&mut options, attribute, &rate.to_ne_bytes());
        }
    }
    let mut body = message(index, class.handle, class.parent).to_vec();
    push(&mut body, TCA_KIND, &terminated("htb"));
    push(&mut body, TCA_OPTIONS, &options);
    change_with(libc::RTM_NEWTCLASS, (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16, &body)
}

fn terminated(kind: &str) -> Vec<u8> {
    [kind.as_bytes(), &[0]].concat()
}

/// Appends an attribute; the next begins at a multiple of four.
fn push(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = (4 + value.len()) as u16;
    body.extend_from_slice(&length.to_ne_bytes());
    body.extend_from_slice(&kind.to_ne_bytes());
    body.extend_from_slice(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

fn message(index: u32, handle: u32, parent: u32) -> [u8; HEADER] {
    let mut message = [0; HEADER];
    for (to, word) in message[4..].chunks_exact_mut(4).zip([index, handle, parent]) {
        to.copy_from_slice(&word.to_ne_bytes());
    }
    message
}
