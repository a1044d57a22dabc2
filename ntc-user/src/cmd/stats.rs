//! `ntc stats`: where packets went, from the pinned maps.

use std::{
    borrow::Cow,
    io::{Write as _, stdout},
    process::ExitCode,
};

use serde::Serialize;

use crate::{
    cli::{LiveFormat, StatsArgs},
    event::{self, EnforcementView, LedgerView, ShadowView},
    kernel::tables,
};

#[derive(Serialize)]
struct View {
    ledger: LedgerView,
    enforcement: EnforcementView,
    classes: std::collections::BTreeMap<Cow<'static, str>, [u64; 2]>,
    services: std::collections::BTreeMap<Cow<'static, str>, [u64; 2]>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    shadow: Vec<ShadowView>,
}

/// Runs the verb.
///
/// # Errors
/// No pins, or stdout cannot be written.
pub fn run(args: &StatsArgs) -> anyhow::Result<ExitCode> {
    let counts = tables::counts(&args.pins.pin_dir)?;
    let view = View {
        ledger: (&counts.ledger).into(),
        enforcement: (&counts.enforcement).into(),
        classes: event::classes(&counts),
        services: event::services(&counts),
        shadow: event::shadow(&counts),
    };
    let mut out = stdout().lock();
    if args.format == LiveFormat::Json {
        serde_json::to_writer(&mut out, &view)?;
        writeln!(out)?;
        return Ok(ExitCode::SUCCESS);
    }
    let LedgerView {
        seen,
        recorded,
        gated,
        not_flow,
        dropped,
        closes,
        new_flows,
        resumed_flows,
        shed_flows,
        reasons,
    } = view.ledger;
    writeln!(out, "packets seen      {seen:>12}")?;
    writeln!(out, "  recorded        {recorded:>12}")?;
    writeln!(out, "  gated           {gated:>12}")?;
    writeln!(out, "  of no flow      {not_flow:>12}")?;
    writeln!(out, "  dropped         {dropped:>12}")?;
    writeln!(out, "  the sums {}", if closes { "close" } else { "are of packets under way: read again" })?;
    writeln!(out, "flows begun       {new_flows:>12}   taken up again {resumed_flows}   shed {shed_flows}")?;
    for (reason, packets) in reasons {
        writeln!(out, "  {reason:<15} {packets:>12}")?;
    }
    let EnforcementView {
        ingress,
        egress,
        stale,
        unlabelled,
        labelled,
        by_mark,
        remarked,
        by_rule,
        by_default,
        dropped,
    } = view.enforcement;
    writeln!(out, "tc ingress        {ingress:>12}   tc egress {egress}")?;
    writeln!(
        out,
        "  by label        {labelled:>12}   by rule {by_rule}   by mark {by_mark}   by default {by_default}"
    )?;
    writeln!(out, "  left alone      {unlabelled:>12}   without a heartbeat {stale}")?;
    writeln!(out, "  DSCP written    {remarked:>12}   dropped {dropped}")?;
    for (class, [packets, bytes]) in view.classes {
        writeln!(out, "class {class:<12}{packets:>12} packets {bytes:>14} bytes")?;
    }
    for (service, [packets, bytes]) in view.services {
        writeln!(out, "{service:<18}{packets:>12} packets {bytes:>14} bytes")?;
    }
    for ShadowView { class, would, packets, bytes } in view.shadow {
        let name = |class: Option<String>| class.unwrap_or_else(|| "left alone".into());
        let change = format!("{} -> {}", name(class), name(would));
        writeln!(out, "shadow {change:<28}{packets:>12} packets {bytes:>14} bytes")?;
    }
    Ok(ExitCode::SUCCESS)
}
