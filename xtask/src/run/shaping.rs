//! The queues of the router, and what their own counters say: packets per traffic class and service.
//!
//! Each interface has an HTB with one class for each class of the default policy: the kernel puts a packet into the
//! one that `skb->priority` names. Below each there is an HTB again, whose classes the server's ports choose. So the
//! queues themselves count which service went into which class; nothing of ours takes part in the counting.

use std::{collections::BTreeMap, process::Command};

use anyhow::{Context, Result, bail};
use ntc_common::policy::CLASS_NAMES;
use serde::Serialize;

use super::{
    net::{Network, TO_CLIENT, TO_SERVER},
    ports::Ports,
    process::{feed, output},
    services::endpoints,
};

/// Minor number of the HTB class of policy class 0.
const FIRST_MINOR: usize = 0x10;
/// Handle of the inner HTB below the class of policy class 0.
const FIRST_INNER: usize = 0x20;
/// Rate and burst that hold nobody back: the counters are what matters here.
const RATE: &str = "rate 10gbit burst 16mb cburst 16mb quantum 60000";

/// One traffic class and what the queues counted in it, both interfaces together.
#[derive(Serialize)]
pub(crate) struct ClassCount {
    /// Name of the class.
    pub(crate) class: &'static str,
    /// Its HTB class.
    pub(crate) handle: String,
    /// Packets sent.
    pub(crate) packets: u64,
    /// Bytes sent.
    pub(crate) bytes: u64,
    /// Packets by true protocol; what is neither TCP nor UDP of a service is `other`.
    pub(crate) services: BTreeMap<&'static str, u64>,
}

/// Sets the queues up on both interfaces of the router.
pub(crate) fn install(network: &Network, ports: &Ports) -> Result<()> {
    let mut batch = String::new();
    // The server is behind one interface: there its port is the destination, on the other the source.
    for (device, port_field) in [(TO_CLIENT, "sport"), (TO_SERVER, "dport")] {
        batch += &format!("qdisc add dev {device} root handle 1: htb default {FIRST_MINOR:x}\n");
        for number in 0..CLASS_NAMES.len() {
            let (minor, inner) = (FIRST_MINOR + number, FIRST_INNER + number);
            batch += &format!("class add dev {device} parent 1: classid 1:{minor:x} htb {RATE}\n");
            batch += &format!("qdisc add dev {device} parent 1:{minor:x} handle {inner:x}: htb default ff\n");
            batch += &format!("class add dev {device} parent {inner:x}: classid {inner:x}:ff htb {RATE}\n");
            for (service, endpoint) in (1..).zip(endpoints()) {
                batch += &format!(
                    "class add dev {device} parent {inner:x}: classid {inner:x}:{service:x} htb {RATE}\n"
                );
                for (priority, ether, ip) in [(1, "ip", "ip"), (2, "ipv6", "ip6")] {
                    batch += &format!(
                        "filter add dev {device} parent {inner:x}: protocol {ether} prio {priority} u32 \
                         match {ip} protocol {} 0xff match {ip} {port_field} {} 0x{:x} flowid {inner:x}:{service:x}\n",
                        endpoint.transport.number(),
                        ports.on_wire(endpoint),
                        endpoint.mask
                    );
                }
            }
        }
    }
    feed(Command::new("tc").args(["-n", &network.namespace("router"), "-batch", "-"]), &batch)
        .context("tc refused the queues")
}

/// Reads the counters of all classes.
pub(crate) fn read(network: &Network) -> Result<Vec<ClassCount>> {
    let mut counts: Vec<_> = (0..CLASS_NAMES.len())
        .map(|number| ClassCount {
            class: CLASS_NAMES[number],
            handle: format!("1:{:x}", FIRST_MINOR + number),
            packets: 0,
            bytes: 0,
            services: BTreeMap::new(),
        })
        .collect();
    for device in [TO_CLIENT, TO_SERVER] {
        // Plain text: before iproute2 6.3 `tc class` has no JSON.
        let text = output(Command::new("tc").args([
            "-n",
            &network.namespace("router"),
            "-s",
            "class",
            "show",
            "dev",
            device,
        ]))?;
        for (major, minor, bytes, packets) in htb_classes(&text) {
            if major == 1 {
                if let Some(count) = minor.checked_sub(FIRST_MINOR).and_then(|number| counts.get_mut(number))
                {
                    count.packets += packets;
                    count.bytes += bytes;
                }
            } else if let Some(count) =
                major.checked_sub(FIRST_INNER).and_then(|number| counts.get_mut(number))
            {
                let service = minor.checked_sub(1).and_then(|index| endpoints().nth(index));
                if packets > 0 {
                    *count
                        .services
                        .entry(service.map_or("other", |endpoint| endpoint.protocol))
                        .or_default() += packets;
                }
            }
        }
    }
    if counts.iter().all(|count| count.packets == 0) {
        bail!("the queues of the router counted no packet");
    }
    Ok(counts)
}

/// Major and minor number, bytes and packets of each class that `tc -s class show` tells of:
/// `class htb 1:10 root ...` and, on the next line, ` Sent 1234 bytes 12 pkt (...)`.
fn htb_classes(text: &str) -> impl Iterator<Item = (usize, usize, u64, u64)> {
    let mut class = None;
    text.lines().filter_map(move |line| {
        let mut words = line.split_whitespace();
        match words.next()? {
            "class" => {
                let (major, minor) = words.nth(1)?.split_once(':')?;
                class =
                    Some((usize::from_str_radix(major, 16).ok()?, usize::from_str_radix(minor, 16).ok()?));
                None
            }
            "Sent" => {
                let (major, minor) = class.take()?;
                let bytes = words.next()?.parse().ok()?;
                Some((major, minor, bytes, words.nth(1)?.parse().ok()?))
            }
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::htb_classes;

    #[test]
    fn class_counters_are_read_from_the_text_of_tc() {
        let text = "class htb 1:1a root leaf 2a: prio 0 rate 10Gbit ceil 10Gbit burst 0b cburst 0b \n \
                    Sent 7210 bytes 35 pkt (dropped 0, overlimits 0 requeues 0) \n backlog 0b 0p requeues 0\n\n\
                    class htb 2a:ff root prio 0 rate 10Gbit ceil 10Gbit burst 0b cburst 0b \n \
                    Sent 0 bytes 0 pkt (dropped 0, overlimits 0 requeues 0) \n";
        assert_eq!(htb_classes(text).collect::<Vec<_>>(), [(1, 0x1a, 7210, 35), (0x2a, 0xff, 0, 0)]);
    }
}
