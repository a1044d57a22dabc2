//! Filters on clsact qdiscs: before Linux 6.6 (TCX) tc programs hang there, by netlink and not by a link. So they outlive
//! an agent that is killed, and are found again by their name and handle.

use std::io;

use super::{attribute, change, dump, text, word};

/// Length of `struct tcmsg`.
const HEADER: usize = 20;
/// Handle of a clsact qdisc, and of an ingress qdisc.
const CLSACT_HANDLE: u32 = 0xffff_0000;
/// Parent of a clsact qdisc (`TC_H_CLSACT`).
const CLSACT_PARENT: u32 = 0xffff_fff1;
/// Parents of filters at its two hooks: `TC_H_MIN_INGRESS`, `TC_H_MIN_EGRESS`.
const HOOKS: [u32; 2] = [0xffff_fff2, 0xffff_fff3];
/// Attributes, include/uapi/linux/rtnetlink.h and pkt_cls.h.
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_NAME: u16 = 7;

/// A BPF filter on a clsact qdisc.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Interface.
    pub index: u32,
    /// Which of the qdisc's two hooks.
    parent: u32,
    /// Priority in the upper half, protocol in the lower.
    info: u32,
    /// Handle: whoever attaches may choose it.
    pub handle: u32,
    /// Name that it was attached with.
    pub name: String,
}

/// Interfaces that have a clsact qdisc.
///
/// # Errors
/// What the kernel said.
pub fn clsact_interfaces() -> io::Result<Vec<u32>> {
    let answers = dump(libc::RTM_GETQDISC, &message(0, 0, 0, 0))?;
    let indices = answers.iter().filter_map(|answer| {
        let (header, rest) = answer.split_at_checked(HEADER)?;
        let kind = attribute(rest, TCA_KIND).map(text)?;
        (kind == "clsact").then(|| word(&header[4..])).flatten()
    });
    Ok(indices.collect())
}

/// BPF filters at both hooks of an interface's clsact qdisc.
///
/// # Errors
/// What the kernel said.
pub fn filters(index: u32) -> io::Result<Vec<Filter>> {
    Ok(all(index)?.into_iter().flatten().collect())
}

/// All filters there; `None` for those that are no BPF programs.
fn all(index: u32) -> io::Result<Vec<Option<Filter>>> {
    let mut found = Vec::new();
    for parent in HOOKS {
        for answer in dump(libc::RTM_GETTFILTER, &message(index, 0, parent, 0))? {
            let Some((header, rest)) = answer.split_at_checked(HEADER) else { continue };
            let (Some(handle), Some(info)) = (word(&header[8..]), word(&header[16..])) else { continue };
            if handle == 0 {
                // A filter's head, not one of its programs.
                continue;
            }
            let name = attribute(rest, TCA_OPTIONS).and_then(|options| attribute(options, TCA_BPF_NAME));
            found.push(name.map(|name| Filter { index, parent, info, handle, name: text(name) }));
        }
    }
    Ok(found)
}

/// Removes a filter.
///
/// # Errors
/// What the kernel said.
pub fn remove(filter: &Filter) -> io::Result<()> {
    change(libc::RTM_DELTFILTER, &message(filter.index, filter.handle, filter.parent, filter.info))
}

/// Removes an interface's clsact qdisc if no filter is left on it.
///
/// # Errors
/// What the kernel said.
pub fn remove_empty_clsact(index: u32) -> io::Result<()> {
    if all(index)?.is_empty() {
        change(libc::RTM_DELQDISC, &message(index, CLSACT_HANDLE, CLSACT_PARENT, 0))?;
    }
    Ok(())
}

fn message(index: u32, handle: u32, parent: u32, info: u32) -> [u8; HEADER] {
    let mut message = [0; HEADER];
    for (to, word) in message[4..].chunks_exact_mut(4).zip([index, handle, parent, info]) {
        to.copy_from_slice(&word.to_ne_bytes());
    }
    message
}
