//! One file a verb.

pub mod classify;
pub mod config;
pub mod detach;
pub mod doctor;
pub mod eval;
pub mod extract;
pub mod flows;
pub mod generate;
pub mod model;
pub mod policy;
pub mod qdisc;
pub mod run;
pub mod stats;
pub mod top;

use std::process::ExitCode;

use ntc_common::flow::FlowRule;

use crate::{
    classify::{Bundle, BundleError, Model, ModelError},
    cli::{FlowRuleName, ModelArgs},
    offline::Outcome,
};

/// Some captures could not be read to their end.
const PARTIAL: u8 = 3;

fn rule(name: FlowRuleName) -> FlowRule {
    match name {
        FlowRuleName::Default => FlowRule::DEFAULT,
        FlowRuleName::Corpus => FlowRule::CORPUS,
    }
}

/// The bundle that is asked for.
fn bundle(args: &ModelArgs) -> Result<Bundle, BundleError> {
    Bundle::load(args.model.as_deref(), &args.store.store())
}

/// The model that is asked for, ready to answer.
fn model(args: &ModelArgs) -> Result<Model, ModelError> {
    Model::new(&bundle(args)?, args.onnxruntime.as_deref())
}

/// Says on stderr what reading came to, and the exit code for it.
fn conclude(outcome: &Outcome) -> ExitCode {
    let ledger = crate::event::LedgerView::from(&outcome.ledger);
    let files = outcome.files;
    eprintln!(
        "ntc: {} flows of {} packets in {files} file{}; {} packets of no flow",
        outcome.flows,
        ledger.seen,
        if files == 1 { "" } else { "s" },
        ledger.not_flow
    );
    for (reason, packets) in &ledger.reasons {
        eprintln!("ntc:   {reason}: {packets}");
    }
    if outcome.failed > 0 {
        eprintln!("ntc: {} of {files} files could not be read to their end", outcome.failed);
        return ExitCode::from(PARTIAL);
    }
    ExitCode::SUCCESS
}
