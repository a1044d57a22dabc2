//! What ntc costs and how fast it is: the program behind `cargo xtask bench`, which builds all that it runs.

mod ask;
mod capture;
mod datapath;
mod forward;
mod inference;
mod live;
mod machine;
mod offline;
mod peers;
mod qos;
mod report;
mod rounds;

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum};
use ntc_user::shape::Rate;
use serde::Serialize;

use crate::{machine::Machine, report::Report};

/// Measures ntc; `docs/benchmarks.md` says what each row means.
#[derive(Parser)]
#[command(name = "cargo xtask bench")]
struct Arguments {
    /// What to measure
    #[arg(value_enum, default_value_t = What::All)]
    what: What,
    /// Where to write the results as JSON
    #[arg(long, value_name = "FILE", default_value = "target/bench.json")]
    json: PathBuf,
    /// Rounds; each measures every row once [default: 7, of qos 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    rounds: Option<u16>,
    /// qos: of the line, both ways
    #[arg(long, value_name = "RATE", default_value = "10mbit")]
    rate: Rate,
    /// qos: seconds of calls in each row and round
    #[arg(long, value_name = "S", default_value_t = 15, value_parser = clap::value_parser!(u64).range(2..))]
    seconds: u64,
    /// qos: folder for tables, plots and all figures
    #[arg(long, value_name = "DIR", default_value = "target/qos")]
    out: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// ns a packet in the kernel; needs root
    Datapath,
    /// Packets/s through a router with and without ntc; needs root
    Forward,
    /// Flows/s and latency of every model under models/
    Inference,
    /// `ntc extract` and `ntc classify` on a capture of 1M packets, beside nDPI and nfstream where installed
    Offline,
    /// Time to label at 500 new flows/s, and the agent's memory with 64k flows; needs root
    Live,
    /// Pages, lookups and subscribers of the query interface with 100k flows; needs root
    Ask,
    /// Calls and look-ups beside bulk transfers on a narrow line, under several queues; minutes; needs root
    Qos,
    /// All of these but qos
    All,
}

#[derive(Serialize)]
struct Results {
    machine: Machine,
    rounds: usize,
    reports: Vec<Report>,
}

/// A benchmark, given the number of rounds.
type Bench = fn(usize) -> Result<Report>;

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if arguments.what == What::Qos {
        return qos(&arguments);
    }
    let rounds = usize::from(arguments.rounds.unwrap_or(7));
    let mut results = Results { machine: Machine::pin()?, rounds, reports: Vec::new() };
    println!("{}\n{rounds} interleaved rounds", results.machine);
    let benches: [(What, Bench); 7] = [
        (What::Datapath, datapath::xdp::measure),
        (What::Datapath, datapath::tc::measure),
        (What::Forward, forward::measure),
        (What::Inference, inference::measure),
        (What::Offline, offline::measure),
        (What::Live, live::measure),
        (What::Ask, ask::measure),
    ];
    for (what, measure) in benches {
        if arguments.what == What::All || arguments.what == what {
            let report = measure(rounds)?;
            println!("{report}");
            results.reports.push(report);
            // After each, so that what was measured is kept if the next one fails.
            let json = serde_json::to_vec_pretty(&results)?;
            fs::write(&arguments.json, json)
                .with_context(|| format!("cannot write {}", arguments.json.display()))?;
        }
    }
    println!("\nwritten to {}", arguments.json.display());
    Ok(())
}

fn qos(arguments: &Arguments) -> Result<()> {
    let machine = Machine::whole()?;
    println!("{machine}");
    let settings = qos::Settings {
        rate: arguments.rate,
        seconds: arguments.seconds,
        rounds: usize::from(arguments.rounds.unwrap_or(3)),
    };
    for report in qos::measure(&settings, &machine, &arguments.out)? {
        println!("{report}");
    }
    println!("\nwritten to {}", arguments.out.display());
    Ok(())
}
