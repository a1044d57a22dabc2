//! On which ports services are met on the wire: on their own, or, with `--random-ports`, on others. Servers and clients
//! know nothing of it: their hosts translate, so the router sees nothing but the other port.

use std::{collections::HashSet, fmt::Write as _};

use anyhow::{Context, Result};

use super::{
    net::{Network, SERVER_V4, SERVER_V6},
    process::feed,
    services::{Endpoint, endpoints},
};
use crate::generate::draw::Draw;

/// Ports below those of the services' data connections.
const FIRST: usize = 1024;
const END: usize = 0x7500;

/// Endpoints with the port that each has on the wire.
#[derive(Default)]
pub(crate) struct Ports {
    moved: Vec<(&'static Endpoint, u16)>,
}

impl Ports {
    /// Other ports by a seed, no two alike and none a port of a service of the run; those of data connections are the
    /// programs' own choice.
    pub(crate) fn random(seed: u64) -> Self {
        let mut draw = Draw::new(seed, "ports");
        let mut taken: HashSet<u16> = endpoints().map(|endpoint| endpoint.port).collect();
        let moved = endpoints().filter(|endpoint| endpoint.listens()).map(|endpoint| {
            loop {
                let port = (FIRST + draw.below(END - FIRST)) as u16;
                if taken.insert(port) {
                    return (endpoint, port);
                }
            }
        });
        Self { moved: moved.collect() }
    }

    /// The port of an endpoint on the wire.
    pub(crate) fn on_wire(&self, endpoint: &Endpoint) -> u16 {
        let is_it = |other: &Endpoint| (other.transport, other.port) == (endpoint.transport, endpoint.port);
        let moved = self.moved.iter().find(|(other, _)| is_it(other));
        moved.map_or(endpoint.port, |(_, port)| *port)
    }

    /// True protocol of a flow with this server port.
    pub(crate) fn truth(&self, transport: &str, port: u16) -> Option<&'static str> {
        endpoints()
            .find(|endpoint| {
                endpoint.transport.name() == transport && port & endpoint.mask == self.on_wire(endpoint)
            })
            .map(|endpoint| endpoint.protocol)
    }

    /// Has the hosts translate.
    pub(crate) fn install(&self, network: &Network) -> Result<()> {
        if self.moved.is_empty() {
            return Ok(());
        }
        let (mut client, mut server) = (String::new(), String::new());
        for (family, version, address, with_port) in [
            ("ip", "ip", SERVER_V4, SERVER_V4.to_owned()),
            ("ip6", "ip6", SERVER_V6, format!("[{SERVER_V6}]")),
        ] {
            let chain = |hook: &str| {
                format!("table {family} ports {{\n chain there {{\n type nat hook {hook} priority -100;\n")
            };
            client += &chain("output");
            server += &chain("prerouting");
            for (endpoint, port) in &self.moved {
                let (transport, own) = (endpoint.transport.name(), endpoint.port);
                // Writing to a string does not fail.
                let _ = writeln!(
                    client,
                    "{version} daddr {address} {transport} dport {own} dnat to {with_port}:{port}"
                );
                let _ = writeln!(server, "{transport} dport {port} redirect to :{own}");
            }
            client += " }\n}\n";
            server += " }\n}\n";
        }
        for (role, rules) in [("client", client), ("server", server)] {
            feed(network.command(role, "nft").args(["-f", "-"]), &rules)
                .with_context(|| format!("nft refused to translate the ports of the {role}"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_endpoint_is_found_by_its_port_on_the_wire() {
        for ports in [Ports::default(), Ports::random(1), Ports::random(2)] {
            for endpoint in endpoints() {
                assert_eq!(endpoint.port & endpoint.mask, endpoint.port, "{}", endpoint.protocol);
                let first = ports.on_wire(endpoint);
                for port in [first, first | !endpoint.mask] {
                    assert_eq!(ports.truth(endpoint.transport.name(), port), Some(endpoint.protocol));
                }
            }
        }
    }

    #[test]
    fn the_transport_is_part_of_the_truth() {
        assert_eq!(Ports::default().truth("udp", 80), None);
        assert_eq!(Ports::default().truth("tcp", 80), Some("HTTP"));
    }

    #[test]
    fn random_ports_are_those_of_the_seed_and_of_no_service() {
        let wire =
            |seed| endpoints().map(|endpoint| Ports::random(seed).on_wire(endpoint)).collect::<Vec<_>>();
        assert_eq!(wire(5), wire(5));
        assert_ne!(wire(5), wire(6));
        assert_eq!(Ports::random(5).truth("tcp", 80), None);
    }
}
