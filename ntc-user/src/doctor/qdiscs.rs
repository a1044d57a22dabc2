//! The queues that priorities choose.

use super::{Finding, Verdict, net::Facts};

/// Those that take `skb->priority` as a class if its upper half is their handle.
const CLASSFUL: [&str; 6] = ["htb", "cake", "hfsc", "drr", "qfq", "prio"];

pub(super) fn check(facts: &Facts) -> Finding {
    let finding = |verdict, found: String, means: &str| Finding::new("qdisc", verdict, found, means);
    let Some((kind, handle)) = &facts.root_qdisc else {
        return finding(
            Verdict::Note,
            "none".into(),
            "priorities choose nothing; marks and code points act all the same",
        );
    };
    let found = format!("{kind}, handle {handle:x}:");
    if !CLASSFUL.contains(&kind.as_str()) {
        return finding(
            Verdict::Note,
            found,
            "it takes no class from the priority; marks and code points act all the same",
        )
        .advice("docs/operating.md, Queues, if this interface is where packets wait");
    }
    // The built-in policy's priorities are 1:11 to 1:1a.
    if *handle == 1 {
        return finding(Verdict::Ok, found, "the built-in policy's priorities choose its classes");
    }
    finding(Verdict::Warn, found, "the built-in policy's priorities are of handle 1: and choose nothing here")
        .advice("give the qdisc handle 1:, or a policy with this handle")
}
