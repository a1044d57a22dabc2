//! The interface itself.

use super::{Finding, Verdict, net::Facts};

pub(super) fn check(facts: &Facts) -> Finding {
    let found = format!("index {}, MTU {}, {}", facts.index, facts.mtu, if facts.up { "up" } else { "down" });
    let finding = |verdict, means: &str| Finding::new("interface", verdict, found.clone(), means);
    if facts.loopback {
        return finding(Verdict::Fail, "ntc does not capture on loopback")
            .advice("name the interface that traffic passes");
    }
    if !facts.up {
        return finding(Verdict::Warn, "no packet passes while it is down")
            .advice(format!("ip link set {} up", facts.name));
    }
    finding(Verdict::Ok, "packets pass")
}

pub(super) fn not_there(name: &str, error: &str) -> Finding {
    Finding::new("interface", Verdict::Fail, format!("{name}: {error}"), "ntc cannot be attached")
        .advice("`ip link` lists interfaces; ntc sees those of its own network namespace")
}
