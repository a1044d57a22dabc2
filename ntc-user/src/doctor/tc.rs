//! tc: TCX or clsact, and who is there already.

use aya::{
    programs::{ProgramError, SchedClassifier, TcAttachType},
    util::KernelVersion,
};

use super::{Finding, Verdict, net::Facts};

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    vec![hook(facts, TcAttachType::Ingress, "tc-ingress"), hook(facts, TcAttachType::Egress, "tc-egress")]
}

fn hook(facts: &Facts, direction: TcAttachType, check: &'static str) -> Finding {
    let finding = |verdict, found: String, means: &str| Finding::new(check, verdict, found, means);
    let filters =
        if direction == TcAttachType::Ingress { &facts.ingress_filters } else { &facts.egress_filters };
    let tcx = KernelVersion::current().is_ok_and(|kernel| kernel >= KernelVersion::new(6, 6, 0));
    let kind = if tcx { "TCX" } else { "clsact" };
    let programs = if tcx { programs(&facts.name, direction) } else { Ok(Vec::new()) };
    let programs = match programs {
        Ok(programs) => programs,
        Err(error) => {
            return finding(
                Verdict::Note,
                format!("{kind}; who is there cannot be told: {error}"),
                "programs of others may be there",
            )
            .advice("run `ntc doctor` as root");
        }
    };
    let (ours, others): (Vec<_>, Vec<_>) = programs.into_iter().partition(|name| name.starts_with("ntc_tc_"));
    if others.is_empty() && filters.is_empty() {
        let found = if ours.is_empty() {
            format!("{kind}, nobody there")
        } else {
            format!("{kind}, {}", ours.join(", "))
        };
        return finding(Verdict::Ok, found, "labels can act here");
    }
    let there: Vec<_> = ours.iter().chain(&others).chain(filters).map(String::as_str).collect();
    finding(
        Verdict::Note,
        format!("{kind}, {}", there.join(", ")),
        "ntc lets them have their say; one that ends with a verdict before ntc hides packets from it, one behind it has \
         the last word on priority and mark",
    )
}

/// Names of the programs on a TCX hook, in their order.
fn programs(interface: &str, direction: TcAttachType) -> Result<Vec<String>, ProgramError> {
    let (_, programs) = SchedClassifier::query_tcx(interface, direction)?;
    let name = |id: u32, name: Option<&str>| name.map_or(format!("program {id}"), str::to_owned);
    Ok(programs.iter().map(|program| name(program.id(), program.name_as_str())).collect())
}
