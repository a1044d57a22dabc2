//! The command `ntc`.

use std::process::ExitCode;

use clap::CommandFactory as _;
use ntc_user::{
    cli::{Cli, Verb},
    cmd, config,
    logs::{self, LogFormat},
};

/// musl's own gives each batch's memory back to the kernel, and takes it again for the next.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    let cli = match config::parse(Cli::command(), std::env::args_os().collect()) {
        Ok(cli) => cli,
        Err(error) => {
            eprintln!("ntc: {error}");
            return ExitCode::FAILURE;
        }
    };
    let (verbose, format) = match &cli.verb {
        Verb::Run(args) => (args.verbose, args.log_format),
        _ => (false, LogFormat::Auto),
    };
    logs::init(format, if verbose { "info,ntc=debug,ntc_user=debug" } else { "warn" });
    let result = match &cli.verb {
        Verb::Run(args) => cmd::run::run(args),
        Verb::Config { action } => cmd::config::run(action),
        Verb::Classify(args) => cmd::classify::run(args),
        Verb::Eval(args) => cmd::eval::run(args),
        Verb::Extract(args) => cmd::extract::run(args),
        Verb::Model(args) => cmd::model::run(args),
        Verb::Flows(args) => cmd::flows::run(args),
        Verb::Stats(args) => cmd::stats::run(args),
        Verb::Policy { action } => cmd::policy::run(action),
        Verb::Qdisc { action } => cmd::qdisc::run(action),
        Verb::Top(args) => cmd::top::run(args),
        Verb::Doctor(args) => cmd::doctor::run(args),
        Verb::Detach(args) => cmd::detach::run(args),
        Verb::Generate(args) => cmd::generate::run(args),
    };
    result.unwrap_or_else(|error| {
        // `ntc classify … | head` closes the pipe: not a failure of ours.
        if error.chain().any(|cause| {
            cause.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
        }) {
            return ExitCode::SUCCESS;
        }
        eprintln!("ntc: {error:#}");
        ExitCode::FAILURE
    })
}
