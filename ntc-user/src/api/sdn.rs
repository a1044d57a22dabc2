//! A flow as the match of an SDN controller, for both directions.
//!
//! | name | what it is | where it goes |
//! | --- | --- | --- |
//! | `openflow13` | arguments of `OFPMatch` of os-ken's and Ryu's; `match` of Ryu's `ofctl_rest` | `POST /stats/flowentry/add` |
//! | `onos` | the field `selector` of an ONOS flow rule | `POST /onos/v1/flows/{device}` |
//! | `odl` | the container `match` of OpenDaylight's `flow-node-inventory` | RESTCONF (RFC 8040), `…/flow={id}` |

use std::net::IpAddr;

use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{
    query::{Protocol, Tuple},
    view::FlowView,
};

/// `ETH_TYPE` of IPv4 and IPv6.
const ETHER_TYPES: [u16; 2] = [0x0800, 0x86dd];

/// Whose match is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// OpenFlow 1.3, as os-ken and Ryu name its fields.
    Openflow13,
    /// ONOS.
    Onos,
    /// OpenDaylight.
    Odl,
}

impl Format {
    /// As [`both`](Self::both), of a flow that is known.
    pub fn of(self, flow: &FlowView) -> [Value; 2] {
        let &FlowView { src_ip, dst_ip, src_port, dst_port, .. } = flow;
        let proto = if flow.proto == "tcp" { Protocol::Tcp } else { Protocol::Udp };
        self.both(&Tuple { src_ip, dst_ip, src_port, dst_port, proto })
    }

    /// The match for packets from the source, and for those to it.
    pub fn both(self, flow: &Tuple) -> [Value; 2] {
        let Tuple { src_ip, dst_ip, src_port, dst_port, proto } = *flow;
        let back = Tuple { src_ip: dst_ip, dst_ip: src_ip, src_port: dst_port, dst_port: src_port, proto };
        [flow, &back].map(|flow| match self {
            Self::Openflow13 => openflow13(flow),
            Self::Onos => onos(flow),
            Self::Odl => odl(flow),
        })
    }
}

const fn protocol(flow: &Tuple) -> &'static str {
    match flow.proto {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    }
}

const fn version(flow: &Tuple) -> (u8, u16) {
    if flow.src_ip.is_ipv4() { (4, ETHER_TYPES[0]) } else { (6, ETHER_TYPES[1]) }
}

fn openflow13(flow: &Tuple) -> Value {
    let ((version, ether_type), protocol) = (version(flow), protocol(flow));
    json!({
        "eth_type": ether_type,
        "ip_proto": flow.proto.number(),
        format!("ipv{version}_src"): flow.src_ip,
        format!("ipv{version}_dst"): flow.dst_ip,
        format!("{protocol}_src"): flow.src_port,
        format!("{protocol}_dst"): flow.dst_port,
    })
}

fn onos(flow: &Tuple) -> Value {
    let ((version, ether_type), protocol) = (version(flow), protocol(flow));
    let upper = protocol.to_uppercase();
    let port = format!("{protocol}Port");
    json!({ "criteria": [
        { "type": "ETH_TYPE", "ethType": format!("0x{ether_type:04x}") },
        { "type": "IP_PROTO", "protocol": flow.proto.number() },
        { "type": format!("IPV{version}_SRC"), "ip": host(flow.src_ip) },
        { "type": format!("IPV{version}_DST"), "ip": host(flow.dst_ip) },
        { "type": format!("{upper}_SRC"), &port: flow.src_port },
        { "type": format!("{upper}_DST"), &port: flow.dst_port },
    ] })
}

fn odl(flow: &Tuple) -> Value {
    let ((version, ether_type), protocol) = (version(flow), protocol(flow));
    json!({
        "ethernet-match": { "ethernet-type": { "type": ether_type } },
        "ip-match": { "ip-protocol": flow.proto.number() },
        format!("ipv{version}-source"): host(flow.src_ip),
        format!("ipv{version}-destination"): host(flow.dst_ip),
        format!("{protocol}-source-port"): flow.src_port,
        format!("{protocol}-destination-port"): flow.dst_port,
    })
}

/// The prefix that is one address.
fn host(ip: IpAddr) -> String {
    ipnet::IpNet::from(ip).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(source: &str, destination: &str, proto: Protocol) -> Tuple {
        let ip = |text: &str| text.parse().expect("an address");
        Tuple { src_ip: ip(source), dst_ip: ip(destination), src_port: 40_000, dst_port: 5060, proto }
    }

    #[test]
    fn matches_are_what_the_controllers_take() {
        let call = flow("192.0.2.1", "198.51.100.2", Protocol::Udp);
        let [there, back] = Format::Openflow13.both(&call);
        assert_eq!(
            there,
            json!({"eth_type": 2048, "ip_proto": 17, "ipv4_src": "192.0.2.1", "ipv4_dst": "198.51.100.2",
                "udp_src": 40000, "udp_dst": 5060})
        );
        assert_eq!((&back["ipv4_src"], &back["udp_src"]), (&json!("198.51.100.2"), &json!(5060)));
        let [there, _] = Format::Onos.both(&flow("2001:db8::1", "2001:db8::2", Protocol::Tcp));
        assert_eq!(
            there["criteria"],
            json!([{"type": "ETH_TYPE", "ethType": "0x86dd"}, {"type": "IP_PROTO", "protocol": 6},
                {"type": "IPV6_SRC", "ip": "2001:db8::1/128"}, {"type": "IPV6_DST", "ip": "2001:db8::2/128"},
                {"type": "TCP_SRC", "tcpPort": 40000}, {"type": "TCP_DST", "tcpPort": 5060}])
        );
        let [there, _] = Format::Odl.both(&call);
        assert_eq!(
            there,
            json!({"ethernet-match": {"ethernet-type": {"type": 2048}}, "ip-match": {"ip-protocol": 17},
                "ipv4-source": "192.0.2.1/32", "ipv4-destination": "198.51.100.2/32",
                "udp-source-port": 40000, "udp-destination-port": 5060})
        );
    }
}
