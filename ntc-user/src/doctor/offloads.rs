//! Offloads that merge or hide packets.

use super::{Finding, Verdict, net::Facts};

/// Name of the check, the kernel's name of the feature, what it does to ntc where it is on, and how to switch it off.
/// The kernel's names: `netdev_features_strings`, net/ethtool/common.c.
const OFFLOADS: [(&str, &str, Verdict, &str, &str); 7] = [
    (
        "gro",
        "rx-gro",
        Verdict::Note,
        "packets are merged behind native XDP: nothing changes there, but tc ingress and generic XDP see super-packets",
        "gro",
    ),
    (
        "lro",
        "rx-lro",
        Verdict::Warn,
        "the card merges packets before anybody sees them: sizes and gaps are not those of the wire",
        "lro",
    ),
    (
        "tso",
        "tx-tcp-segmentation",
        Verdict::Note,
        "what this host sends itself passes tc egress as super-packets",
        "tso",
    ),
    (
        "gso",
        "tx-generic-segmentation",
        Verdict::Note,
        "what this host sends itself passes tc egress as super-packets",
        "gso",
    ),
    (
        "uso",
        "tx-udp-segmentation",
        Verdict::Note,
        "UDP (QUIC) that this host sends itself may pass tc egress as super-packets",
        "tx-udp-segmentation",
    ),
    (
        "rxvlan",
        "rx-vlan-hw-parse",
        Verdict::Note,
        "the card takes VLAN tags off: XDP sees packets without them; the tag is no part of a flow's key",
        "rxvlan",
    ),
    (
        "hw-tc",
        "hw-tc-offload",
        Verdict::Warn,
        "flows that the card forwards by itself are neither accounted nor enforced",
        "hw-tc-offload",
    ),
];

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let Some(features) = &facts.features else {
        return vec![
            Finding::new(
                "offloads",
                Verdict::Note,
                "the driver does not say",
                "packets may be merged or hidden unseen",
            )
            .advice(format!("ethtool -k {}", facts.name)),
        ];
    };
    let finding =
        |(check, feature, verdict, means, switch): &(&'static str, &str, Verdict, &str, &str)| match features
            .get(*feature)
        {
            Some(true) => Finding::new(check, *verdict, "on", *means).advice(format!(
                "ethtool -K {} {switch} off, where labels matter more than throughput",
                facts.name
            )),
            Some(false) => {
                Finding::new(check, Verdict::Ok, "off", "packets are seen as they were on the wire")
            }
            None => Finding::new(check, Verdict::Ok, "not there", "this kernel has no such offload"),
        };
    OFFLOADS.iter().map(finding).collect()
}
