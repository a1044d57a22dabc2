//! `ntc doctor`: what this machine gives ntc.

use std::{
    io::{Write, stdout},
    process::ExitCode,
};

use anyhow::Context as _;

use crate::{
    cli::DoctorArgs,
    doctor::{self, Finding, Report, Request, Verdict},
};

/// Runs the verb: 0 where nothing fails, 1 otherwise.
///
/// # Errors
/// stdout cannot be written.
pub fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let request = Request {
        interfaces: args.interfaces.clone(),
        pin_dir: args.pins.pin_dir.clone(),
        model: args.model.model.clone(),
        models: args.model.store.models.clone(),
        onnxruntime: args.model.onnxruntime.clone(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the asynchronous runtime")?;
    let report = runtime.block_on(doctor::examine(&request));
    let mut out = stdout().lock();
    if args.json {
        serde_json::to_writer(&mut out, &report)?;
        writeln!(out)?;
    } else {
        print(&mut out, &report)?;
    }
    Ok(if report.verdict == Verdict::Fail { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn print(out: &mut impl Write, report: &Report) -> std::io::Result<()> {
    let mut about = None;
    for Finding { check, interface, verdict, found, means, advice } in &report.findings {
        if about != interface.as_ref() {
            about = interface.as_ref();
            writeln!(out, "\ninterface {}", interface.as_deref().unwrap_or_default())?;
        }
        writeln!(out, "{:<5}{check:<14}{found}", verdict.name())?;
        writeln!(out, "{:19}{means}", "")?;
        if !advice.is_empty() {
            writeln!(out, "{:19}-> {advice}", "")?;
        }
    }
    let count = |verdict| report.findings.iter().filter(|finding| finding.verdict == verdict).count();
    writeln!(
        out,
        "\n{} checks: {} fail, {} warn, {} note",
        report.findings.len(),
        count(Verdict::Fail),
        count(Verdict::Warn),
        count(Verdict::Note)
    )
}
