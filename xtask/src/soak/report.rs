//! What the soak showed: JSON with every sample, Markdown with a table and a plot.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use serde::Serialize;
use serde_json::Value;

use super::sample::{Sample, Trend};
use crate::{
    flood::{self, Kind, watch},
    run::traffic::Tally,
};

/// Columns and rows of a plot.
const PLOT: (usize, usize) = (72, 10);

/// A flood.
#[derive(Clone, Serialize)]
pub(crate) struct Burst {
    /// Its kind.
    pub(crate) kind: Kind,
    /// Seconds from the start to its begin.
    pub(crate) at_s: f64,
    /// Seconds that it took.
    pub(crate) took_s: f64,
    /// Frames sent.
    pub(crate) frames: u64,
}

/// Result of the verb.
#[derive(Serialize)]
pub(crate) struct Report {
    /// How the machine calls itself, its processors and kernel.
    machine: String,
    /// Seconds asked for.
    wanted_s: f64,
    /// Seconds that it ran: less if it was interrupted.
    took_s: f64,
    /// Client programs run.
    client_runs: usize,
    /// Those that failed.
    client_failures: usize,
    /// Resident memory of the agent.
    rss_kib: Trend,
    /// Memory of the kernel's for its maps.
    maps_kib: Trend,
    /// Its open descriptors.
    descriptors: Trend,
    /// Its threads.
    threads: Trend,
    /// Samples whose ledger did not close.
    open_ledgers: usize,
    /// Every flood.
    bursts: Vec<Burst>,
    /// Every sample.
    samples: Vec<Sample>,
    /// The agent's own summary.
    agent: Value,
    /// What was not met.
    pub(super) unmet: Vec<String>,
}

impl Report {
    /// Sums up.
    pub(super) fn new(
        wanted: Duration,
        took: Duration,
        samples: Vec<Sample>,
        bursts: Vec<Burst>,
        tally: &Tally,
        agent: Value,
    ) -> Self {
        let mut report = Self {
            machine: flood::machine(),
            wanted_s: wanted.as_secs_f64(),
            took_s: took.as_secs_f64(),
            client_runs: tally.runs,
            client_failures: tally.failures.len(),
            rss_kib: Trend::of(&samples, |sample| sample.cost.rss_kib),
            maps_kib: Trend::of(&samples, |sample| sample.cost.maps_kib),
            descriptors: Trend::of(&samples, |sample| sample.cost.descriptors),
            threads: Trend::of(&samples, |sample| sample.cost.threads),
            open_ledgers: samples.iter().filter(|sample| !sample.ledger_closes).count(),
            bursts,
            samples,
            agent,
            unmet: vec![],
        };
        report.unmet = report.judged();
        report
    }

    fn judged(&self) -> Vec<String> {
        let mut unmet = vec![];
        let mut must = |met: bool, what: String| {
            if !met {
                unmet.push(what);
            }
        };
        must(
            self.took_s >= self.wanted_s,
            format!("it ran for {:.0} of {:.0} s", self.took_s, self.wanted_s),
        );
        for (what, trend) in [("resident memory", self.rss_kib), ("memory of the maps", self.maps_kib)] {
            must(
                trend.is_flat(),
                format!(
                    "{what} is not flat: {:+.1} KiB a minute (allowed {}), {} to {} KiB",
                    trend.per_minute,
                    allowed(&trend),
                    trend.min,
                    trend.max
                ),
            );
        }
        for (what, trend) in [("descriptors", self.descriptors), ("threads", self.threads)] {
            must(
                trend.floor_growth <= 0,
                format!("{what}: never fewer than {:+} in the second half", trend.floor_growth),
            );
        }
        must(
            self.least_kept() == super::LIVE,
            format!(
                "of {} flows that went on all the time {} kept label and class",
                super::LIVE,
                self.least_kept()
            ),
        );
        must(self.open_ledgers == 0, format!("the ledger was open in {} samples", self.open_ledgers));
        must(self.agent["ledger"]["closes"] == true, "the ledger is open at the end".into());
        must(self.number("/labelled") > 0, "no flow was labelled".into());
        must(!self.bursts.is_empty(), "there was no flood".into());
        unmet
    }

    /// Flows that went on all the time with the label and class of the start, in the worst sample.
    fn least_kept(&self) -> usize {
        self.samples.iter().map(|sample| sample.kept).min().unwrap_or_default()
    }

    fn number(&self, path: &str) -> u64 {
        self.agent.pointer(path).and_then(Value::as_u64).unwrap_or_default()
    }

    /// The report for people.
    pub(super) fn markdown(&self) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let minutes = self.took_s / 60.0;
        writeln!(out, "# Soak\n")?;
        writeln!(
            out,
            "`cargo xtask soak`: the agent for {minutes:.1} minutes on the router between 17 real services and their\n\
             clients, with a flood of {} s every {} s, each kind in turn. Written by the command itself.\n",
            super::BURST.as_secs(),
            super::TURN.as_secs()
        )?;
        writeln!(out, "Machine: {}. Samples every {} s.\n", self.machine, super::SAMPLE.as_secs())?;
        if self.unmet.is_empty() {
            writeln!(
                out,
                "**Passed:** flat memory, no descriptor leak, ledger closed, calls kept their class, the agent never ended.\n"
            )?;
        } else {
            writeln!(out, "**Not passed:**\n")?;
            for unmet in &self.unmet {
                writeln!(out, "- {unmet}")?;
            }
            writeln!(out)?;
        }
        writeln!(out, "| last three quarters | least | most | growth a minute | allowed |")?;
        writeln!(out, "| --- | --- | --- | --- | --- |")?;
        for (what, trend) in [("resident memory, KiB", self.rss_kib), ("kernel maps, KiB", self.maps_kib)] {
            writeln!(
                out,
                "| {what} | {} | {} | {:+.1} | {}, and most at most 1.25 times least |",
                trend.min,
                trend.max,
                trend.per_minute,
                allowed(&trend)
            )?;
        }
        for (what, trend) in [("descriptors", self.descriptors), ("threads", self.threads)] {
            writeln!(
                out,
                "| {what} | {} | {} | {:+.3} | the least of the second half not above that of the first: {:+} |",
                trend.min, trend.max, trend.per_minute, trend.floor_growth
            )?;
        }
        writeln!(out, "\n| over all | |\n| --- | --- |")?;
        let reading = |open| format!("{} of {} readings", self.samples.len() - open, self.samples.len());
        for (what, value) in [
            ("packets accounted", self.number("/ledger/seen").to_string()),
            ("flows begun", self.number("/ledger/new_flows").to_string()),
            ("flows labelled", self.number("/labelled").to_string()),
            ("events lost", self.number("/events_lost").to_string()),
            ("packets that left no record for lack of room", self.number("/ledger/dropped").to_string()),
            (
                "calls and connections that went on all the time with one label and class",
                format!("{} of {}", self.least_kept(), super::LIVE),
            ),
            ("ledger closes", reading(self.open_ledgers)),
            ("client programs run, failed", format!("{}, {}", self.client_runs, self.client_failures)),
        ] {
            writeln!(out, "| {what} | {value} |")?;
        }
        writeln!(out, "\n| flood | times | frames | frames a second |\n| --- | --- | --- | --- |")?;
        let mut by_kind: BTreeMap<&str, (u32, u64, f64)> = BTreeMap::new();
        for burst in &self.bursts {
            let sum = by_kind.entry(burst.kind.name()).or_default();
            *sum = (sum.0 + 1, sum.1 + burst.frames, sum.2 + burst.took_s);
        }
        for (kind, (times, frames, took)) in by_kind {
            writeln!(out, "| {kind} | {times} | {frames} | {:.0} |", frames as f64 / took)?;
        }
        let pressure = watch::pressure(&Value::Null, &self.agent);
        if !pressure.is_empty() {
            writeln!(out, "\n| counter of overload | |\n| --- | --- |")?;
            for (name, value) in pressure {
                writeln!(out, "| {name} | {value} |")?;
            }
        }
        for (title, unit, pick) in [
            ("Resident memory", "MiB", (|sample| sample.cost.rss_kib as f64 / 1024.0) as fn(&Sample) -> f64),
            ("Kernel memory of the maps", "MiB", |sample| sample.cost.maps_kib as f64 / 1024.0),
            ("Descriptors", "", |sample| sample.cost.descriptors as f64),
        ] {
            let points: Vec<_> = self.samples.iter().map(|sample| (sample.at_s, pick(sample))).collect();
            writeln!(out, "\n{title}:\n\n```text\n{}```", plot(&points, self.took_s, unit))?;
        }
        Ok(())
    }
}

fn allowed(trend: &Trend) -> String {
    trend
        .allowed_kib()
        .map_or_else(|| "not judged below ten minutes".into(), |allowed| format!("{allowed:.0}"))
}

/// A plot from 0 to the largest value; each column is the largest of its samples.
fn plot(points: &[(f64, f64)], length: f64, unit: &str) -> String {
    let (columns, rows) = PLOT;
    let top = points.iter().map(|point| point.1).fold(1.0, f64::max);
    let mut heights = vec![None::<usize>; columns];
    for (at, value) in points {
        let column = ((at / length * columns as f64) as usize).min(columns - 1);
        let height = (value / top * rows as f64).round() as usize;
        heights[column] = heights[column].max(Some(height));
    }
    let mut out = String::new();
    for row in (1..=rows).rev() {
        let label = if row == rows { format!("{top:.1} {unit}") } else { String::new() };
        let line: String = heights
            .iter()
            .map(|height| match height {
                Some(height) if *height == row => '*',
                Some(height) if *height > row => '.',
                _ => ' ',
            })
            .collect();
        out += &format!("{label:>11} |{}\n", line.trim_end());
    }
    out += &format!("{:>11} +{}\n", "0", "-".repeat(columns));
    out += &format!("{:>12}0{:>width$.1} min\n", "", length / 60.0, width = columns - 1);
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_plot_shows_its_largest_value_at_the_top() {
        let text = super::plot(&[(0.0, 5.0), (30.0, 10.0), (60.0, 5.0)], 60.0, "MiB");
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), super::PLOT.1 + 2, "{text}");
        assert!(lines[0].starts_with("   10.0 MiB |") && lines[0].ends_with('*'), "{text}");
        assert_eq!(lines[5].matches('*').count(), 2, "{text}");
    }
}
