//! client - router - far host, wire packets at every hook.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use ntc_tests::net::Namespace;

/// Addresses of the client and the far host.
pub const CLIENT: &str = "192.168.1.20";
pub const FAR: &str = "198.51.100.20";
/// Of those who are called, one a call.
pub const FAR_ENDS: [&str; 3] = [FAR, "198.51.100.21", "198.51.100.22"];
/// The router's interfaces: inside and outside.
pub const INSIDE: &str = "r0";
pub const OUTSIDE: &str = "r1";

/// The hosts. What is on them goes with them.
pub struct Net {
    /// Has `c0`.
    pub client: Namespace,
    /// Has [`INSIDE`] and [`OUTSIDE`].
    pub router: Namespace,
    /// Has `f0`.
    pub far: Namespace,
}

impl Net {
    /// Makes them.
    ///
    /// # Errors
    /// What `ip` said.
    pub fn build() -> Result<Self> {
        let net = Self { client: Namespace::new()?, router: Namespace::new()?, far: Namespace::new()? };
        net.client.veth("c0", &net.router, INSIDE)?;
        net.router.veth(OUTSIDE, &net.far, "f0")?;
        let ends = [
            (&net.client, "c0", "192.168.1.20/24"),
            (&net.router, INSIDE, "192.168.1.1/24"),
            (&net.router, OUTSIDE, "198.51.100.1/24"),
            (&net.far, "f0", "198.51.100.20/24"),
        ];
        for (host, device, address) in ends {
            host.ip(&["link", "set", device, "mtu", "1500"])?;
            host.ip(&["address", "add", address, "dev", device])?;
            // As on a wire: a queue that holds what was not yet cut into packets sends it in one go.
            host.output("ethtool", &["-K", device, "tso", "off", "gso", "off", "gro", "off"])?;
        }
        for address in &FAR_ENDS[1..] {
            net.far.ip(&["address", "add", &format!("{address}/24"), "dev", "f0"])?;
        }
        net.client.ip(&["route", "add", "default", "via", "192.168.1.1"])?;
        net.far.ip(&["route", "add", "default", "via", "198.51.100.1"])?;
        net.router.enter(|| Ok(fs::write("/proc/sys/net/ipv4/ip_forward", "1")?))?;
        for host in [&net.client, &net.far] {
            // What most machines on the net have, whatever this one has; a kernel without it keeps its own.
            let _ = host.enter(|| Ok(fs::write("/proc/sys/net/ipv4/tcp_congestion_control", "cubic")?));
        }
        Ok(net)
    }

    /// Lets what the far host sends be 10 ms under way, where the kernel can: answers are never there at once.
    ///
    /// # Errors
    /// What `tc` said, but that there is no netem.
    pub fn far_away(&self) -> Result<bool> {
        let netem = ["qdisc", "add", "dev", "f0", "root", "netem", "delay", "10ms", "limit", "10000"];
        Ok(self.far.output("tc", &netem).is_ok())
    }

    /// `tc` on the router.
    ///
    /// # Errors
    /// What it said.
    pub fn tc(&self, arguments: &str) -> Result<String> {
        let words: Vec<&str> = arguments.split_whitespace().collect();
        self.router.output("tc", &words).with_context(|| format!("tc {arguments}"))
    }

    /// Whether the kernel has a qdisc of a kind.
    ///
    /// # Errors
    /// It has, and will not let it go.
    pub fn has(&self, kind: &str) -> Result<bool> {
        if self.tc(&format!("qdisc add dev {OUTSIDE} root {kind}")).is_err() {
            return Ok(false);
        }
        self.tc(&format!("qdisc del dev {OUTSIDE} root"))?;
        let left = self.tc(&format!("qdisc show dev {OUTSIDE}"))?;
        ensure!(!left.contains(kind), "{left}");
        Ok(true)
    }
}
