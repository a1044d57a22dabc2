//! Devices on top of others: a packet that a port, or a card below, has accounted comes in once more as the bridge's or
//! the VLAN's, and counts no second time.

use std::collections::BTreeSet;

use crate::kernel::netlink::links::Link;

/// Kinds whose `IFLA_LINK` is a device that their packets come through as they are. Not so a veth, whose peer it is, nor
/// tunnels, whose packets are inside others.
const ON_TOP: [&str; 5] = ["vlan", "macvlan", "macvtap", "ipvlan", "ipvtap"];

/// Interfaces on top of one of `of`, however high.
pub fn above(links: &[Link], of: &BTreeSet<u32>) -> BTreeSet<u32> {
    let mut above = BTreeSet::new();
    loop {
        let covered = |index: &u32| of.contains(index) || above.contains(index);
        let mut next = BTreeSet::new();
        for link in links {
            next.extend(link.master.filter(|_| covered(&link.index)));
            if ON_TOP.contains(&link.kind.as_str()) && link.below.as_ref().is_some_and(covered) {
                next.insert(link.index);
            }
        }
        let before = above.len();
        above.extend(next);
        // No longer than there are interfaces, also where they stood in a circle.
        if above.len() == before {
            return above;
        }
    }
}

/// Names of the ports of a bridge or bond that are not in `of`.
pub fn ports_beside<'a>(links: &'a [Link], master: u32, of: &BTreeSet<u32>) -> Vec<&'a str> {
    let ports = links.iter().filter(|link| link.master == Some(master) && !of.contains(&link.index));
    ports.map(|link| link.name.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, kind: &str, master: Option<u32>, below: Option<u32>) -> Link {
        Link { index, name: format!("i{index}"), kind: kind.into(), master, below, ..Link::default() }
    }

    #[test]
    fn what_stands_on_a_captured_port_is_above_it() {
        let links = [
            link(1, "", Some(10), None),
            link(2, "", Some(10), None),
            link(10, "bridge", None, None),
            link(11, "vlan", None, Some(10)),
            link(3, "", None, None),
            link(12, "vlan", None, Some(3)),
            link(13, "veth", None, Some(1)),
            link(14, "vxlan", None, Some(1)),
        ];
        assert_eq!(above(&links, &[1].into()), [10, 11].into());
        assert_eq!(above(&links, &[3].into()), [12].into());
        assert_eq!(above(&links, &[].into()), [].into());
        assert_eq!(ports_beside(&links, 10, &[1].into()), ["i2"]);
    }
}
