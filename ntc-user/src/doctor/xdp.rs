//! XDP: what the driver can, and who is there already.

use super::{
    Finding, Verdict,
    net::{self, Facts},
};

pub(super) fn check(facts: &Facts) -> Finding {
    let finding = |verdict, found: String, means: &str| Finding::new("xdp", verdict, found, means);
    if let Some(id) = facts.xdp_program {
        return match net::program_name(id).as_deref() {
            Some(name @ "ntc_xdp") => {
                finding(Verdict::Ok, format!("{name} is attached (program {id})"), "ntc captures here")
            }
            name => finding(
                Verdict::Warn,
                format!(
                    "another XDP program is attached: {} (program {id})",
                    name.unwrap_or("name not readable for this user")
                ),
                "an interface holds one XDP program; ntc's cannot be attached beside it",
            )
            .advice(format!("ip link set {} xdp off, if nobody needs it", facts.name)),
        };
    }
    if !facts.ethernet {
        return finding(
            Verdict::Ok,
            "packets have no Ethernet header".into(),
            "captured at tc ingress instead of XDP",
        );
    }
    match facts.xdp_features {
        Some(features) if features & net::XDP_BASIC == 0 => finding(
            Verdict::Note,
            "the driver has none of its own".into(),
            "generic XDP: behind GRO, and each packet costs more",
        ),
        Some(features) if features & net::XDP_FRAGMENTS == 0 && facts.mtu > 3_400 => finding(
            Verdict::Warn,
            format!("native, but without multi-buffer frames, at an MTU of {}", facts.mtu),
            "the driver may refuse the program natively at this MTU; generic XDP costs more",
        )
        .advice(format!("ip link set {} mtu 1500, if large frames are not needed", facts.name)),
        Some(_) => finding(Verdict::Ok, "native".into(), "packets are seen before GRO merges them"),
        None => finding(
            Verdict::Note,
            "cannot be told (the kernel does not say, before Linux 6.3)".into(),
            "native is tried first, then generic",
        ),
    }
}
