//! What this process may do. The agent's own user may have more, or less.

use super::{Finding, Verdict};
use crate::kernel::privileges;

pub(super) fn check() -> Vec<Finding> {
    let missing = privileges::missing();
    if missing.is_empty() {
        let found = "CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON";
        return vec![Finding::new(
            "capabilities",
            Verdict::Ok,
            found,
            "all that ntc needs; it gives up the rest",
        )];
    }
    let found = format!("{} missing for this user", missing.join(", "));
    vec![Finding::new("capabilities", Verdict::Fail, found, "`ntc run` does not start as this user").advice(
        "run `ntc doctor` as the user who runs ntc; start ntc as root with --user NAME, \
             or give the three capabilities (docs/operating.md, Privileges)",
    )]
}
