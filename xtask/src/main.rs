//! The project's chores: `cargo xtask VERB`. One module a verb; each verb first puts in place what it needs.

mod audit;
mod bench;
mod bpf;
mod build;
mod dist;
mod docs;
mod flood;
mod fuzz;
mod generate;
mod guest;
mod image;
mod label;
mod lint;
mod run;
mod setup;
mod small;
mod soak;
mod test;
mod train;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Builds, demonstrates, tests and trains ntc. Start with `cargo xtask run`.
///
/// Each verb first installs what it needs and is missing: packages of the distribution (as root or with sudo),
/// the rest into .tools/ of this work tree. Nothing has to be set beforehand, and a second call finds all in place.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", after_long_help = EXAMPLES)]
struct Xtask {
    #[command(subcommand)]
    verb: Verb,
}

const EXAMPLES: &str = "\
Examples:
  cargo xtask run                        the agent between real hosts, for a minute
  cargo xtask run -- --iface eth0        the agent on a real interface
  cargo xtask test                       all that a commit must pass
  cargo xtask guest -- tc qdisc add dev lo root cake
                                         a command under Debian's kernel
  cargo xtask setup lint train           install ahead of time what these verbs need";

#[derive(Subcommand)]
enum Verb {
    /// Install what the other verbs need; quick where all is in place
    Setup(setup::Arguments),
    /// Compile the agent `ntc`, the BPF object included
    Build(build::Arguments),
    /// Show the agent at work on real traffic between hosts made for it
    Run(run::Args),
    /// Check style and run every test, those of the kernel programs and the training package included
    Test,
    /// Run a command under Debian's kernel, in an emulated machine; without one a shell
    Guest(guest::Arguments),
    /// Check style, and licences and sources of all dependencies
    Lint,
    /// Ask the package registries what they know against the versions in use
    Audit,
    /// Try hostile input on all that reads input from outside
    Fuzz(fuzz::Arguments),
    /// Measure speed
    Bench(bench::Arguments),
    /// Flood the agent beside live flows, and see whether these keep their labels
    Flood(flood::Args),
    /// Let real services and floods run for hours, and see whether memory and descriptors stay what they are
    Soak(soak::Args),
    /// Make captures of many services whose labels are known by construction
    Generate(generate::Args),
    /// Label captures by nDPI's payload inspection, for `ntc eval` and training
    Label(label::Arguments),
    /// Make the packages that an operator installs
    Dist(dist::Arguments),
    /// Make a book of the project's pages, and look for dead links
    Docs,
    /// Hold the build without ONNX Runtime against the full one, on captures
    Small(small::Arguments),
    /// Train a model from captures and write its bundle
    Train(train::Arguments),
}

fn main() -> ExitCode {
    verb(Xtask::parse().verb).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn verb(verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::Setup(arguments) => setup::main(&arguments),
        Verb::Build(arguments) => build::main(&arguments),
        Verb::Run(arguments) => {
            let page = arguments.pictures.iter().map(|_| setup::Scope::Page);
            setup::ensure(&[setup::Scope::Run].into_iter().chain(page).collect::<Vec<_>>())?;
            let ntc = build::agent(build::Profile::Release)?;
            return run::run(&arguments, &ntc, &workspace::root(), &workspace::tools());
        }
        Verb::Test => return test::main(),
        Verb::Audit => return audit::main(),
        Verb::Fuzz(arguments) => return fuzz::main(&arguments),
        Verb::Guest(arguments) => return guest::main(&arguments),
        Verb::Lint => lint::main(),
        Verb::Dist(arguments) => return dist::main(&arguments),
        Verb::Bench(arguments) => bench::main(&arguments),
        Verb::Flood(arguments) => {
            setup::ensure(&[setup::Scope::Run])?;
            let ntc = match &arguments.ntc {
                Some(ntc) => ntc.clone(),
                None => build::agent(build::Profile::Release)?,
            };
            return flood::main(&arguments, &ntc, &bpf::object("flood")?);
        }
        Verb::Soak(arguments) => {
            setup::ensure(&[setup::Scope::Run])?;
            let ntc = match &arguments.ntc {
                Some(ntc) => ntc.clone(),
                None => build::agent(build::Profile::Release)?,
            };
            return soak::main(&arguments, &ntc, &bpf::object("flood")?, &workspace::tools());
        }
        Verb::Generate(arguments) => return generate::main(&arguments),
        Verb::Docs => docs::main(),
        Verb::Label(arguments) => label::main(&arguments),
        Verb::Small(arguments) => small::main(&arguments),
        Verb::Train(arguments) => train::main(&arguments),
    }
    .map(|()| ExitCode::SUCCESS)
}
