//! `ntc qdisc`: queues that fit the policy.

use std::{
    io::{Write as _, stdout},
    process::ExitCode,
};

use ntc_common::policy::MARK_MASK_DEFAULT;

use super::policy::chosen;
use crate::{
    cli::{QdiscAction, QdiscArgs},
    shape,
};

/// Runs the verb.
///
/// # Errors
/// What the action could not do.
pub fn run(action: &QdiscAction) -> anyhow::Result<ExitCode> {
    let mut out = stdout().lock();
    match action {
        QdiscAction::Plan(args) => {
            let plan = planned(args)?;
            if args.json {
                writeln!(out, "{}", serde_json::to_string(&plan)?)?;
            } else {
                write!(out, "{plan}")?;
            }
        }
        QdiscAction::Apply { queues, replace } => {
            let plan = planned(queues)?;
            plan.apply(*replace)?;
            if queues.json {
                writeln!(out, "{}", serde_json::to_string(&plan)?)?;
            } else {
                write!(out, "{plan}")?;
                writeln!(out, "done; `ntc qdisc remove --iface {}` takes it back", plan.interface)?;
            }
        }
        QdiscAction::Remove { interface } => {
            if shape::remove(interface)? {
                writeln!(out, "{interface}: as it was before")?;
            } else {
                writeln!(out, "{interface}: there is no qdisc of ntc's; nothing was changed")?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn planned(args: &QdiscArgs) -> anyhow::Result<shape::Plan> {
    let (policy, _) = chosen(args.policy.as_deref(), MARK_MASK_DEFAULT, &args.pins.pin_dir)?;
    Ok(shape::plan(&args.interface, shape::kind(args.cake), args.rate, &policy.table)?)
}
