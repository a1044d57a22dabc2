//! What labels are worth to calls and look-ups on a narrow line that bulk transfers fill: client - router - far host,
//! the same traffic under one way of queueing after the other.

mod figures;
mod net;
mod plot;
mod traffic;
mod variants;

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use ntc_user::shape::Rate;
use serde::Serialize;

use self::{
    figures::{Calls, Figures},
    net::Net,
    traffic::Outcome,
    variants::{Labelled, Variant},
};
use crate::{
    machine::Machine,
    report::{Report, Row},
    rounds::Spread,
};

/// What is measured, and for how long.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Of the line, both ways.
    pub rate: Rate,
    /// Of one way of queueing, each round.
    pub seconds: u64,
    /// Repeats.
    pub rounds: usize,
}

/// All that was measured: what the plots are drawn from, in small.
#[derive(Serialize)]
struct Results<'a> {
    machine: &'a Machine,
    rate_kbit: u64,
    seconds: u64,
    rounds: usize,
    variants: Vec<Measured>,
}

/// One way of queueing.
#[derive(Serialize)]
struct Measured {
    name: &'static str,
    queues: &'static str,
    /// By round.
    rounds: Vec<Figures>,
    /// What the flows were taken for, in the last round.
    labels: Vec<Labelled>,
    #[serde(skip)]
    outcomes: Vec<Outcome>,
}

/// Measures, and writes `NAME.json`, `NAME.md` and plots into `folder`; returns the tables.
///
/// # Errors
/// What could not be set up or measured.
pub fn measure(settings: &Settings, machine: &Machine, folder: &Path) -> Result<Vec<Report>> {
    let probe = Net::build()?;
    let (set, variants) = variants::of_this_kernel(&probe)?;
    drop(probe);
    let mut measured: Vec<Measured> = variants
        .iter()
        .map(|variant| Measured {
            name: variant.name,
            queues: variant.queues,
            rounds: Vec::new(),
            labels: Vec::new(),
            outcomes: Vec::new(),
        })
        .collect();
    for round in 0..settings.rounds {
        for (variant, measured) in variants.iter().zip(&mut measured) {
            let (outcome, labels) = once(variant, settings).with_context(|| variant.name.to_owned())?;
            let figures = Figures::of(&outcome);
            eprintln!("round {}: {}: {figures}", round + 1, variant.name);
            measured.rounds.push(figures);
            measured.labels = labels;
            measured.outcomes.push(outcome);
        }
    }
    let reports = tables(settings, &measured);
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let text: String = reports.iter().map(ToString::to_string).collect();
    fs::write(folder.join(format!("{set}.md")), format!("# {machine}\n{text}"))?;
    for (way, title) in [(traffic::Way::Up, "up"), (traffic::Way::Down, "down")] {
        let curves: Vec<_> = measured
            .iter()
            .map(|measured| {
                let delays = measured.outcomes.iter().flat_map(|outcome| outcome.delays(way)).collect();
                (measured.name, delays)
            })
            .collect();
        fs::write(folder.join(format!("{set}-{title}.svg")), plot::late(title, &curves))?;
    }
    let (rate_kbit, seconds, rounds) = (settings.rate.0 * 8 / 1000, settings.seconds, settings.rounds);
    let results = Results { machine, rate_kbit, seconds, rounds, variants: measured };
    fs::write(folder.join(format!("{set}.json")), serde_json::to_vec_pretty(&results)?)?;
    Ok(reports)
}

fn once(variant: &Variant, settings: &Settings) -> Result<(Outcome, Vec<Labelled>)> {
    let net = Net::build()?;
    let running = variant.set_up(&net, settings.rate)?;
    let outcome = traffic::run(&net, variant.ports, Duration::from_secs(settings.seconds))?;
    let labels = running.labels(variant.ports)?;
    Ok((outcome, labels))
}

fn tables(settings: &Settings, measured: &[Measured]) -> Vec<Report> {
    let mut calls = Report::new("qos-calls", "p99 one-way delay of the calls' packets, ms");
    let mut names = Report::new("qos-names", "p99 time to the answer of look-ups, ms");
    let mut bulk = Report::new("qos-bulk", "Mbit/s of payload of the bulk transfers");
    let spread = |measured: &Measured, of: &dyn Fn(&Figures) -> f64| {
        Spread::of(measured.rounds.iter().map(of).collect())
    };
    // All is compared with the first, which nobody labels.
    let Some(first) = measured.first() else { return Vec::new() };
    for (way, pick) in [("up", Figures::up as fn(&Figures) -> &Calls), ("down", Figures::down)] {
        for measured in measured {
            let of = |figure: fn(&Calls) -> f64| spread(measured, &|round| figure(pick(round)));
            let before = |figure: fn(&Calls) -> f64| spread(first, &|round| figure(pick(round)));
            let ratio = |figure: fn(&Calls) -> f64| before(figure).median / of(figure).median.max(1e-6);
            calls.rows.push(
                Row::new(format!("{}, {way}", measured.name), of(|calls| calls.p99_ms))
                    .with("p50", of(|calls| calls.p50_ms).median)
                    .with("most", of(|calls| calls.most_ms).highest)
                    .with("jitter", of(|calls| calls.jitter_ms).median)
                    .with("variation p99", of(|calls| calls.variation_ms).median)
                    .with("lost %", of(|calls| calls.lost_percent).median)
                    .with("p99 better", ratio(|calls| calls.p99_ms))
                    .with("jitter better", ratio(|calls| calls.jitter_ms)),
            );
        }
    }
    for measured in measured {
        names.rows.push(
            Row::new(measured.name, spread(measured, &|round| round.names.p99_ms))
                .with("p50", spread(measured, &|round| round.names.p50_ms).median)
                .with("lost %", spread(measured, &|round| round.names.lost_percent).median),
        );
    }
    for (way, pick) in [
        ("up", (|f: &Figures| f.bulk_up_mbit) as fn(&Figures) -> f64),
        ("down", |f| f.bulk_down_mbit),
        ("both", |f| f.bulk_up_mbit + f.bulk_down_mbit),
    ] {
        for measured in measured {
            let rate = spread(measured, &pick);
            bulk.rows.push(
                Row::new(format!("{}, {way}", measured.name), rate)
                    .with("kept %", 100.0 * rate.median / spread(first, &pick).median.max(1e-6)),
            );
        }
    }
    calls.notes.push(format!(
        "{} both ways, {} rounds of {} s each. All is compared with the first row. jitter: RFC 3550, mean of all calls; \
         variation: delay above the least (RFC 5481); lost packets have no delay.",
        settings.rate, settings.rounds, settings.seconds
    ));
    for measured in measured {
        calls.notes.push(format!("{}: {}", measured.name, measured.queues));
        for labelled in &measured.labels {
            calls.notes.push(format!("  {labelled}"));
        }
    }
    vec![calls, names, bulk]
}
